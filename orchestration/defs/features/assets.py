"""dbt models as assets (staging and feature tables) and dbt tests as asset checks.

dbt runs inside the step's process: starting dbt's command line takes about as long as a build of
all models, and the CLI and the tests use the same function. A step builds the models that are
computed from the same streams, so that a stream whose checks fail stops those alone; a step for each
model would start dbt, 0.3 s of CPU, as often as there are models.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from headrace.config import Settings
from headrace.errors import FeatureBuildError
from headrace.identifiers import TableName
from headrace.integrations.dbt_build import build_features
from headrace.tables.lake import OpenLake
from orchestration.lib.dbt import (
    UNIQUE_ID,
    TableTranslator,
    check_results,
    lineage_recorded,
    model_groups,
)
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource
from orchestration.lib.table_metadata import pin, table_result

_POOL = "writers/features"  # one run of dbt at a time
Results = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


@dg.definitions
def models() -> dg.Definitions:
    """Define an asset for every model of the dbt project and a check for every test."""
    settings = Settings.load()
    declared = read_declared(settings)
    if not declared.models or declared.manifest is None:
        return dg.Definitions()
    groups = model_groups(declared.manifest)
    return dg.Definitions(
        assets=[
            _models(
                name,
                # in their order: Dagster refuses the result of a model before that of its input
                {each: table for each, table in declared.models.items() if each in members},
                declared.manifest,
                translator=TableTranslator(engine=settings.engine),
            )
            for name, members in groups.items()
        ]
    )


def _models(
    name: str,
    tables: Mapping[str, TableName],
    manifest: Mapping[str, Any],
    *,
    translator: TableTranslator,
) -> dg.AssetsDefinition:
    """Define one step that builds the models of the same streams."""

    @dbt_assets(
        manifest=manifest,
        select=" ".join(sorted(tables)),
        dagster_dbt_translator=translator,
        name=name,
        pool=_POOL,
    )
    def features(context: dg.AssetExecutionContext, lake: LakeResource) -> Results:
        selected = context.selected_asset_keys
        wanted = {model: table for model, table in tables.items() if table_key(table) in selected}
        with lake.open() as opened:
            yield from _build(opened, context, wanted)

    return features


def _build(
    lake: OpenLake,
    context: dg.AssetExecutionContext,
    wanted: Mapping[str, TableName],
) -> Results:
    """Build the models, then report commits and test results, even if dbt failed part-way."""
    results = lake.settings.state_dir / "dbt" / "target" / "run_results.json"
    results.unlink(missing_ok=True)
    before = {name: pin(lake, name) for name in wanted.values()}
    failure: FeatureBuildError | None = None
    try:
        build_features(lake.settings, select=" ".join(sorted(wanted)), run_id=context.run.run_id)
    except FeatureBuildError as error:
        failure = error
    for name in wanted.values():
        now = pin(lake, name)
        if now is not None and now.snapshot_id is not None:
            spec = context.assets_def.get_asset_spec(table_key(name))
            yield table_result(
                lake, name, before=before[name], spec=spec, metadata=lineage_recorded(now)
            )
    for each in _tested(context, results):
        yield recorded(
            lake, each, key=each.asset_key or dg.AssetKey([]), check=each.check_name or ""
        )
    if failure is not None:
        raise failure


def _tested(context: dg.AssetExecutionContext, results: Path) -> Iterator[dg.AssetCheckResult]:
    specs = {
        spec.metadata[UNIQUE_ID]: spec
        for spec in context.assets_def.check_specs
        if spec.key in context.selected_asset_check_keys
    }
    yield from check_results(specs, results)
