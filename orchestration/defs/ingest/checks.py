"""Checks on a stream that block everything downstream of it, and nothing else."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import Remedy
from headrace.ingest import watermark
from headrace.ingest.contract import contract_breaks
from headrace.ingest.recent import WINDOW, RecentRecords, recent
from headrace.tables.lake import OpenLake
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource
from orchestration.lib.section import Section

GROUP = "ingest"
DEAD_SHARE_MAX = 0.01  # above this share, the producer or the contract is broken
_FEW = (
    f"At most {DEAD_SHARE_MAX:.0%} of recent records are dead letters. Recent means the last "
    f"{WINDOW / dt.timedelta(hours=1):.0f} hours with data, or since `headrace ingest acknowledge`."
)


@dg.definitions
def contract_checks() -> dg.Definitions:
    """Define checks of every stream's table against its contract."""
    declared = read_declared(Settings.load())
    section = declared.section or Section()
    # a step of its own for each: a blocking check that fails ends its step, with all checks in it
    return dg.Definitions(asset_checks=[_checks(each, section) for each in declared.streams])


def _checks(stream: Stream, section: Section) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(name, asset=table_key(stream.table), blocking=blocks, description=what)
        for name, blocks, what in (
            (
                "schema_matches_contract",
                True,
                "The table has every column of the contract, with the declared type.",
            ),
            ("dead_letters_are_few", True, _FEW),
            ("watermark_is_recent", False, _recent_text(stream, section)),
        )
    ]

    @dg.multi_asset_check(specs=specs, name=f"contract_of_{stream.name}", can_subset=True)
    def contract(
        context: dg.AssetCheckExecutionContext, lake: LakeResource
    ) -> Iterator[dg.AssetCheckResult]:
        with lake.open() as opened:
            results = [
                recorded(opened, each, key=table_key(stream.table), check=each.check_name or "")
                for each in _results(opened, stream, section)
            ]
        chosen = context.selected_asset_check_keys
        yield from (
            each
            for each in results
            if dg.AssetCheckKey(each.asset_key or dg.AssetKey([]), each.check_name or "") in chosen
        )

    return contract


def _results(lake: OpenLake, stream: Stream, section: Section) -> Iterator[dg.AssetCheckResult]:
    key = table_key(stream.table)
    if not lake.exists(stream.table):
        return
    wrong = contract_breaks(stream, lake.table(stream.table).head().schema)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="schema_matches_contract",
        passed=not wrong,
        description=None
        if not wrong
        else (
            f"columns of `{stream.table}` do not match the contract of `{stream.name}`: "
            f"{', '.join(f'`{each}`' for each in wrong)} missing or of another type; "
            f"{_altering(stream)}"
        ),
        metadata={"columns_that_differ": wrong, "contract_version": stream.version},
    )
    yield _watermark_result(lake, stream, section)
    found = recent(lake, stream)
    few = found.dead_share <= DEAD_SHARE_MAX
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="dead_letters_are_few",
        passed=few,
        description=None if few else refused_text(stream, found),
        metadata={
            "dead_letters": found.dead_letters,
            "rows": found.rows,
            "share": found.dead_share,
            "since": dg.MetadataValue.timestamp(found.since),
            **{f"reason/{code}": count for code, count in found.reasons.items()},
        },
    )


def _watermark_result(lake: OpenLake, stream: Stream, section: Section) -> dg.AssetCheckResult:
    """Compare the watermark with now, or with the end of a history that has one."""
    said = watermark.as_time(watermark.read(lake.table(stream.table).head().properties))
    until = dt.datetime.now(dt.UTC)
    if section.last_day is not None:
        end = dt.datetime.combine(section.last_day, dt.time(), dt.UTC) + dt.timedelta(days=1)
        until = min(until, end)
    hours_max = _hours_max(stream, section)
    hours = None if said is None else (until - said) / dt.timedelta(hours=1)
    is_recent = hours is not None and hours <= hours_max
    status = Remedy.run("ingest", "status", stream.name, advice="show what waits")
    age = "has no watermark yet" if hours is None else f"is complete up to {hours:,.1f} hours ago"
    return dg.AssetCheckResult(
        asset_key=table_key(stream.table),
        check_name="watermark_is_recent",
        passed=is_recent,
        severity=dg.AssetCheckSeverity.WARN,
        description=None
        if is_recent
        else f"`{stream.table}` {age}, where at most {hours_max:,g} are allowed; {status}",
        metadata={
            "hours_max": hours_max,
            **({} if hours is None else {"hours": hours}),
            **({} if said is None else {"watermark": dg.MetadataValue.timestamp(said)}),
        },
    )


def _recent_text(stream: Stream, section: Section) -> str:
    hours = _hours_max(stream, section)
    return (
        f"The watermark is at most {hours:,g} hours old, or that far from the end of the history."
    )


def _hours_max(stream: Stream, section: Section) -> float:
    """Add what the contract allows records to be late, by which a watermark is behind the newest."""
    fresh = section.fresh_hours_of(str(stream.table), group=GROUP)
    return fresh + stream.allowed_lateness / dt.timedelta(hours=1)


def refused_text(stream: Stream, found: RecentRecords) -> str:
    """Describe the rejected records: count, reasons, sources, and the remedy."""
    reasons = ", ".join(f"{code} ({count:,})" for code, count in found.reasons.items())
    acknowledge = Remedy.run(
        "ingest", "acknowledge", stream.name, advice="correct the producer or the contract, then"
    )
    return (
        f"{found.dead_letters:,} of {found.rows + found.dead_letters:,} records of "
        f"`{stream.name}` since {found.since:%Y-%m-%d %H:%M} were rejected: {reasons}; from "
        f"{', '.join(f'`{each}`' for each in found.sources)}. `dead_letters.records` keeps the "
        f"complete records; {acknowledge}"
    )


def _altering(stream: Stream) -> Remedy:
    table = str(stream.table)
    show = Remedy.run_on_catalog("tables", "show", table, advice="show the columns of the table")
    alter = Remedy.run_on_catalog(
        "tables", "alter", table, advice="change the declaration or the table"
    )
    return replace(show, otherwise=(alter,))
