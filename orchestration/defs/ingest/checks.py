"""What must hold of a stream before anything is computed from it."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.definitions.stream import Stream
from headrace.ingest.run import StreamStatus, status
from headrace.tables.lake import Lake
from orchestration.lib.keys import table_key
from orchestration.lib.resource import LakeResource

DEAD_SHARE_MAX = 0.01  # more than this, and the producer or the contract is broken


@dg.definitions
def contract_checks() -> dg.Definitions:
    """Check the table of every stream against its contract."""
    declared = load_streams(Settings.load())
    return dg.Definitions(asset_checks=[_checks(list(declared.values()))])


def _checks(streams: list[Stream]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(name, asset=table_key(stream.table), blocking=True, description=what)
        for stream in streams
        for name, what in (
            ("schema_matches_contract", "The table has every column of the contract, as declared."),
            ("dead_letters_are_few", f"At most {DEAD_SHARE_MAX:.0%} of the records were refused."),
        )
    ]

    @dg.multi_asset_check(specs=specs, name="contracts", can_subset=True)
    def contracts(
        context: dg.AssetCheckExecutionContext, lake: LakeResource
    ) -> Iterator[dg.AssetCheckResult]:
        with lake.open() as opened:
            results = [each for stream in streams for each in _results(opened, stream)]
        chosen = context.selected_asset_check_keys
        yield from (
            each
            for each in results
            if dg.AssetCheckKey(each.asset_key or dg.AssetKey([]), each.check_name or "") in chosen
        )

    return contracts


def _results(lake: Lake, stream: Stream) -> Iterator[dg.AssetCheckResult]:
    key = table_key(stream.table)
    if not lake.exists(stream.table):
        return
    wrong = contract_breaks(stream, lake.table(stream.table).head().schema)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="schema_matches_contract",
        passed=not wrong,
        metadata={"columns_that_differ": wrong, "contract_version": stream.version},
    )
    found = status(lake, stream)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="dead_letters_are_few",
        passed=dead_share(found) <= DEAD_SHARE_MAX,
        metadata={"dead_letters": found.dead_letters, "share": dead_share(found)},
    )


def contract_breaks(stream: Stream, schema: pa.Schema) -> list[str]:
    """Name the declared columns that the table lacks or has with another type; wider is fine."""
    wanted = stream.table_schema()
    return [
        field.name
        for field in wanted
        if field.name not in schema.names or not _holds(schema.field(field.name), field)
    ]


def dead_share(found: StreamStatus) -> float:
    """The share of a stream's records that were refused."""
    return found.dead_letters / max(1, found.rows + found.dead_letters)


def _holds(have: pa.Field, wanted: pa.Field) -> bool:
    wider = {pa.int32(): (pa.int64(),), pa.float32(): (pa.float64(),)}
    return _plain(have.type) in (_plain(wanted.type), *wider.get(wanted.type, ()))


def _plain(data_type: pa.DataType) -> pa.DataType:
    """Ignore what Arrow names but no table knows: large offsets, and the names of list elements."""
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return pa.list_(_plain(data_type.value_type))
    return pa.string() if pa.types.is_large_string(data_type) else data_type
