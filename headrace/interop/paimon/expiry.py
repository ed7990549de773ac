"""Plans which snapshots of a Paimon table expire: none that the lake keeps, or that a reader is not past. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.interop.paimon.facts import PaimonDefinition, PaimonRetention, PaimonSnapshot
from headrace.interop.paimon.rows import TakenAs
from headrace.interop.paimon.token import Token

GUARD = "headrace"  # the consumer by which the queue keeps any expiry from what it keeps itself
_TIME, _COUNT = "snapshot.time-retained", "snapshot.num-retained.min"
_TIME_DEFAULT, _COUNT_DEFAULT = "1 h", "10"  # of Paimon
_CHANGELOGS = (
    "changelog.time-retained",
    "changelog.num-retained.min",
    "changelog.num-retained.max",
)
_UNITS_NS = {
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000_000),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000_000_000),
    **dict.fromkeys(("", "ms", "milli", "millis", "millisecond", "milliseconds"), 1_000_000),
    **dict.fromkeys(("\u00b5s", "micro", "micros", "microsecond", "microseconds"), 1000),
    **dict.fromkeys(("ns", "nano", "nanos", "nanosecond", "nanoseconds"), 1),
}


@dataclass(frozen=True, kw_only=True)
class PaimonExpiry:
    """Which snapshots of a table expire: those before `first_kept`, `count` in number.

    `held` counts those that only `held_by` keeps, a table of the lake or a consumer.
    """

    first_kept: int
    count: int
    held: int = 0
    held_by: str = ""


def retention_of(table: PaimonDefinition, consumers: Mapping[str, int]) -> PaimonRetention:
    """Read what a table says of how long its snapshots stay; where it says nothing, Paimon's defaults."""
    age = table.option(_TIME, _TIME_DEFAULT)
    said = re.fullmatch(r"(\d+)\s*(\D*)", age)
    unit_ns = None if said is None else _UNITS_NS.get(said[2])
    count = table.option(_COUNT, _COUNT_DEFAULT)
    return PaimonRetention(
        age_ms=None if said is None or unit_ns is None else -(-int(said[1]) * unit_ns // 1_000_000),
        age=age,
        count=int(count) if count.isdecimal() else int(_COUNT_DEFAULT),
        consumers={name: at for name, at in consumers.items() if name != GUARD},
        changelogs=next((name for name in _CHANGELOGS if name in table.options), ""),
    )


def plan_expiry(
    snapshots: Sequence[PaimonSnapshot],
    *,
    retention: PaimonRetention,
    tokens: Mapping[str, Token],
    keep: int,
    now_ms: int,
) -> PaimonExpiry:
    """Plan the expiry of one table; nothing expires where its `retention` is not understood.

    A snapshot goes only if all of these let it: it is none of the newest `keep`, nor of those that the
    table itself keeps, by number and age; it is older than what each reader took last. That one stays
    too: a dataset version may be given a tag of it yet. What a tag names is kept by Paimon.

    Args:
        snapshots: Those that are there, oldest first.
        retention: What the table and its consumers say.
        tokens: What tables of the lake took of this table, by their names. The state of a table is
            taken as a whole, so it needs no snapshot but the newest.
        keep: How many snapshots the lake keeps.
        now_ms: The time of the plan.

    """
    if not snapshots or retention.age_ms is None:
        return PaimonExpiry(first_kept=snapshots[0].id if snapshots else 0, count=0)
    newest = max(1, keep, retention.count)
    young = (
        each.id for each in snapshots if each.committed_at_ms > now_ms - (retention.age_ms or 0)
    )
    by_lake = min(snapshots[-newest:][0].id, next(young, snapshots[-1].id))
    readers = dict(retention.consumers)
    for target, token in tokens.items():
        if token.taken_as != TakenAs.STATE:
            readers[target] = min(token.snapshot_id, readers.get(target, token.snapshot_id))
    held_by, first_kept = min(
        readers.items(), key=lambda each: (each[1], each[0]), default=("", by_lake)
    )
    if first_kept >= by_lake:
        held_by, first_kept = "", by_lake
    return PaimonExpiry(
        first_kept=first_kept,
        count=sum(each.id < first_kept for each in snapshots),
        held=sum(first_kept <= each.id < by_lake for each in snapshots),
        held_by=held_by,
    )
