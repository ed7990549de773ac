"""One asset per declared stream: appends new source records to its table."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.ingest import dead_letters
from headrace.ingest.run import ingest
from headrace.ingest.status import IngestResult
from headrace.tables.lake import OpenLake
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key, writer_pool
from orchestration.lib.resource import LakeResource
from orchestration.lib.table_metadata import pin, table_metadata, table_result


@dg.definitions
def streams() -> dg.Definitions:
    """Define an asset for every stream in `lake/streams`."""
    declared = read_declared(Settings.load()).streams
    letters = dg.AssetSpec(
        key=table_key(dead_letters.TABLE),
        # not tables that it is computed from, but the streams whose records it holds
        deps=[table_key(stream.table) for stream in declared],
        group_name="ingest",
        kinds={"iceberg"},
        description=(
            "Records that a contract refused, whole, with the reason and where they came from. "
            "Ingest writes it; `headrace dead-letters` lists and replays them."
        ),
    )
    return dg.Definitions(assets=[letters, *(_stream_asset(stream) for stream in declared)])


def _stream_asset(stream: Stream) -> dg.AssetsDefinition:
    @dg.asset(
        key=table_key(stream.table),
        group_name="ingest",
        kinds={"iceberg", stream.format},
        pool=writer_pool(stream.table),
        description=f"Raw records of stream `{stream.name}`, from `{stream.source.text}`.",
        code_version=stream.definition_hash(),
    )
    def take(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened:
            before = pin(opened, stream.table)
            done = ingest(opened, stream, run_id=context.run.run_id)
            taken = {
                "rows_taken": done.rows,
                "dead_letters": done.dead_letters,
                "late_rows": done.late_rows,
                "commits": done.commits,
                "files_skipped": len(done.skipped),
            }
            if done.dead_letters:
                context.log_event(_dead_letters(opened, stream, done))
            if done.refusal is not None:
                # a retry would find nothing new and succeed, which would hide the refusal
                raise dg.Failure(
                    str(done.refusal), metadata={**taken, **_reasons(done)}, allow_retries=False
                )
            spec = context.assets_def.get_asset_spec()
            return table_result(opened, stream.table, before=before, spec=spec, metadata=taken)

    return take


def _dead_letters(lake: OpenLake, stream: Stream, done: IngestResult) -> dg.AssetMaterialization:
    head = lake.table(dead_letters.TABLE).head()
    return dg.AssetMaterialization(
        table_key(dead_letters.TABLE),
        description=f"{done.dead_letters:,} records of `{stream.name}` were refused",
        metadata={
            **table_metadata(lake, head, before=None),
            "stream": stream.name,
            "refused": done.dead_letters,
            **_reasons(done),
        },
    )


def _reasons(done: IngestResult) -> dict[str, int]:
    return {f"reason/{reason}": count for reason, count in done.reasons.items()}
