"""Translate dbt nodes to assets, and dbt's run results to check results."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject

from headrace.definitions.properties import MODEL_COLUMNS
from headrace.identifiers import TableName
from headrace.samples.column_sources import model_column_sources
from headrace.tables.version import TableVersion
from orchestration.lib.columns import BUILT, lineage_of
from orchestration.lib.keys import table_key

UNIQUE_ID = "dagster_dbt/unique_id"
_GOOD = {"success", "pass"}
_STEP_NAME_MAX = 50


class TableTranslator(DagsterDbtTranslator):
    """Keys each model or source by its table: `[schema, name]`; a group is a namespace.

    Args:
        engine: What runs the models.

    """

    def __init__(self, *, engine: str) -> None:
        super().__init__()
        self._engine = engine

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """Key a node by its table."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "source":
            return spec.replace_attributes(key=table_key(table_of(node)))
        # dagster-dbt names the relation in the profile's own database, which stores nothing
        return spec.merge_attributes(
            metadata={"dagster/table_name": str(table_of(node))}
        ).replace_attributes(
            key=table_key(table_of(node)),
            group_name=table_of(node).namespace,
            kinds={"iceberg", "dbt", self._engine},
            automation_condition=dg.AutomationCondition.eager(),
        )


def table_of(node: Mapping[str, Any]) -> TableName:
    """Return the table of a model or source."""
    return TableName(node["schema"], node.get("alias") or node["name"])


def model_tables(manifest: Mapping[str, Any]) -> dict[str, TableName]:
    """Map each model to its table, in topological order."""
    nodes = manifest["nodes"]
    reads = {
        unique_id: node["depends_on"].get("nodes", [])
        for unique_id, node in nodes.items()
        if node["resource_type"] in BUILT
    }
    order = TopologicalSorter(reads).static_order()
    return {nodes[each]["name"]: table_of(nodes[each]) for each in order if each in reads}


def model_groups(manifest: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Group models by the sources that they are computed from, each group under a name of a step.

    A model reads models of its own group and of groups with fewer sources, so that no two groups
    wait for each other.
    """
    parents = {
        unique_id: node["depends_on"].get("nodes", [])
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in BUILT
    }
    sources: dict[str, frozenset[str]] = {}
    for each in TopologicalSorter(parents).static_order():
        above = [sources[parent] for parent in parents.get(each, ()) if parent in sources]
        own = frozenset({each}) if each.startswith("source.") else frozenset[str]()
        sources[each] = own.union(*above)
    groups: dict[frozenset[str], list[str]] = {}
    for each in parents:
        groups.setdefault(sources[each], []).append(manifest["nodes"][each]["name"])
    named = Counter(_step_name(of) for of in groups)
    return {
        _step_name(of, is_unique=named[_step_name(of)] == 1): frozenset(names)
        for of, names in groups.items()
    }


def _step_name(sources: frozenset[str], *, is_unique: bool = True) -> str:
    """Name the step that builds what is computed from some sources, such as `source.dbt.raw.clicks`."""
    tables = sorted(each.split(".")[-1] for each in sources)
    name = "_and_".join(tables) or "nothing"
    if len(name) > _STEP_NAME_MAX or not is_unique:
        whole = " ".join(sorted(sources))
        name = f"{len(tables)}_tables_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return f"features_of_{name}"


def check_results(
    specs: Mapping[str, dg.AssetCheckSpec], run_results: Path
) -> list[dg.AssetCheckResult]:
    """Read the results of dbt tests from the artifact of a build; empty if there is none."""
    if not run_results.is_file():
        return []
    said = json.loads(run_results.read_text())["results"]
    return [
        dg.AssetCheckResult(
            asset_key=specs[found["unique_id"]].asset_key,
            check_name=specs[found["unique_id"]].name,
            passed=found["status"] in _GOOD,
            description=None if found["status"] in _GOOD else _failure(found),
            severity=dg.AssetCheckSeverity.WARN
            if found["status"] == "warn"
            else dg.AssetCheckSeverity.ERROR,
            metadata={
                "status": found["status"],
                "failures": found["failures"] or 0,
                "execution_s": found["execution_time"],
                **({} if found["status"] in _GOOD else {"query": found.get("compiled_code") or ""}),
            },
        )
        for found in said
        if found["unique_id"] in specs and found["status"] != "skipped"
    ]


def lineage_recorded(version: TableVersion) -> dict[str, dg.TableColumnLineage]:
    """Return the lineage of a model's columns, as metadata; empty if its build recorded none."""
    found: dict[str, list[tuple[TableName, str]]] = {}
    for each in model_column_sources(version.properties.get(MODEL_COLUMNS, "{}")):
        found.setdefault(each.column, []).append((TableName.parse(each.table), each.of))
    return {"dagster/column_lineage": lineage_of(found)} if found else {}


def _failure(found: Mapping[str, Any]) -> str:
    """Describe a failed test: how many rows fail it, or why it could not run."""
    name = found["unique_id"].split(".")[2]
    said = (found.get("message") or "").strip()
    count = found["failures"]
    rows = f"{count:,} rows fail `{name}`" if count else f"`{name}` ended in {found['status']}"
    return f"{rows}; {said}; run the query below on this lake to find them"
