"""One compaction asset per raw table: merges the small files of streaming ingest."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import compaction_key, table_key, writer_pool
from orchestration.lib.resource import LakeResource
from orchestration.lib.table_metadata import table_metadata


@dg.definitions
def compactions() -> dg.Definitions:
    """Define a compaction asset for the table of every stream."""
    declared = read_declared(Settings.load()).streams
    return dg.Definitions(assets=[_compaction(stream.table) for stream in declared])


def _compaction(name: TableName) -> dg.AssetsDefinition:
    @dg.asset(
        key=compaction_key(name),
        deps=[table_key(name)],
        group_name="maintenance",
        kinds={"iceberg"},
        pool=writer_pool(name),
        description=f"Compacts files of `{name}` to about the target size; rows do not change.",
    )
    def compacted(
        context: dg.AssetExecutionContext, lake: LakeResource
    ) -> dg.MaterializeResult[Any]:
        with lake.open() as opened:
            before = opened.table(name).head()
            done = compact(opened.table(name), run_id=context.run.run_id)
            after = opened.table(name).head()
            rewritten = {
                "files_rewritten": done.files_before,
                "files_written": done.files_after,
                "rows_rewritten": done.rows,
            }
            return dg.MaterializeResult(
                metadata={**table_metadata(opened, after, before=before), **rewritten},
                data_version=dg.DataVersion(str(after.snapshot_id)),
            )

    return compacted
