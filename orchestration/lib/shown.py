"""What Dagster's pages show of every asset: owner, tags, columns, code, and the link to our page."""

import datetime as dt
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.dbt_project import find_project
from headrace.identifiers import TableName
from headrace.ingest import dead_letters
from orchestration.lib.columns import (
    BUILT,
    DEAD_LETTERS,
    column_schema,
    columns_of,
    lineage_of,
    sources_of,
)
from orchestration.lib.declared import Declared
from orchestration.lib.keys import MODELS, dataset_key, table_key
from orchestration.lib.links import PAGE, page_of
from orchestration.lib.section import Section

_HERE = Path(__file__).parents[1]
_TABLES = frozenset({"ingest", "staging", "features", "samples"})  # groups
_ROWS = _HERE / "defs/features/window_rows.py"
_CODE = {
    "datasets": _HERE / "defs/datasets/assets.py",
    "serving": _HERE / "defs/serving/assets.py",
    "flink": _HERE / "defs/flink/jobs.py",
    "paimon": _HERE / "defs/paimon/tables.py",
    "ingest": _HERE / "defs/ingest/assets.py",
    "maintenance": _HERE / "defs/maintenance/assets.py",
}


class Shown:
    """Completes the spec of each asset from the declarations of a lake."""

    def __init__(self, settings: Settings, declared: Declared) -> None:
        self._engine = settings.engine
        self._section = declared.section or Section()
        self._columns = {
            table_key(table): columns
            for table, columns in columns_of(
                declared.streams,
                declared.sample_sets,
                declared.manifest,
                window_views=declared.window_views,
                window_rows=declared.window_rows,
            ).items()
        }
        self._columns[table_key(dead_letters.TABLE)] = DEAD_LETTERS
        self._files = {table_key(table): file for table, file in declared.files.items()}
        self._files |= {table_key(each.table): _ROWS for each in declared.window_rows}
        self._files |= {each.key: each.file for each in declared.broken}
        project = find_project(settings)
        if project is not None and declared.manifest is not None:
            self._files |= _model_files(declared.manifest, project)
        self._datasets: dict[dg.AssetKey, TableName] = {}
        for each in declared.sample_sets:
            self._datasets[dataset_key(each.name)] = each.table
            self._files[dataset_key(each.name)] = declared.files[each.table]
            self._files[dg.AssetKey([MODELS, each.name])] = declared.files[each.table]

    def complete(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the spec with what our pages and the declarations know of it."""
        group = spec.group_name or "default"
        owner = self._section.owner_of(".".join(spec.key.path), group=group)
        metadata: dict[str, Any] = {PAGE: dg.MetadataValue.url(page_of(spec.key))}
        metadata |= self._column_metadata(spec.key)
        file = self._files.get(spec.key) or _CODE.get(group)
        if file is not None:
            metadata["dagster/code_references"] = _reference(file)
        done = spec.merge_attributes(
            metadata=metadata, tags={"headrace/layer": group, "headrace/engine": self._engine}
        )
        if owner is not None and not spec.owners:
            done = done.replace_attributes(owners=[owner])
        policy = self._freshness(spec.key, group)
        return done if policy is None else done.replace_attributes(freshness_policy=policy)

    def _column_metadata(self, key: dg.AssetKey) -> Mapping[str, Any]:
        columns = self._columns.get(key)
        if columns is not None:
            sources = sources_of(columns)
            lineage = {"dagster/column_lineage": sources} if sources.deps_by_column else {}
            return {"dagster/column_schema": column_schema(columns), **lineage}
        samples = self._datasets.get(key)
        if samples is None:
            return {}
        columns = self._columns[table_key(samples)]
        return {
            "dagster/column_schema": column_schema(columns),
            "dagster/column_lineage": lineage_of({c.name: [(samples, c.name)] for c in columns}),
        }

    def _freshness(self, key: dg.AssetKey, group: str) -> dg.FreshnessPolicy | None:
        """Return a policy as long as the history goes on: one with an end is never fresh again."""
        if group not in _TABLES or self._section.last_day is not None:
            return None
        hours = self._section.fresh_hours_of(".".join(key.path), group=group)
        return dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=hours))


def _reference(file: Path) -> dg.CodeReferencesMetadataValue:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references, as of Dagster 1.13
        reference = dg.LocalFileCodeReference(file_path=str(file), line_number=1)
        return dg.CodeReferencesMetadataValue(code_references=[reference])


def _model_files(manifest: Mapping[str, Any], project: Path) -> dict[dg.AssetKey, Path]:
    return {
        dg.AssetKey([node["schema"], node.get("alias") or node["name"]]): project
        / node["original_file_path"]
        for node in manifest["nodes"].values()
        if node["resource_type"] in BUILT
    }
