"""Which days of a model's table have to be built again, from what its inputs say happened."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from headrace.errors import SnapshotNotFoundError
from headrace.identifiers import TableName
from headrace.integrations.model_request import ModelRequest
from headrace.registry import CommitRecord
from headrace.tables.changes import changes
from headrace.tables.history import record_head
from headrace.tables.lake import Lake
from headrace.tables.partitions import PartitionKey

_EPOCH = dt.date(1970, 1, 1)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, order=True)
class DayRange:
    """Days from `first` up to, not including, `end`."""

    first: dt.date
    end: dt.date

    def to_json(self) -> dict[str, str | int]:
        """The range as macros use it: ISO dates and days since 1970."""
        return {
            "first": self.first.isoformat(),
            "end": self.end.isoformat(),
            "first_day": (self.first - _EPOCH).days,
            "end_day": (self.end - _EPOCH).days,
        }


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """What one build of a model does.

    `mode` is `all` (replace the table), `days` (replace the days in `write`, reading the days in
    `read`), `rows` (the model says itself what is new) or `none`.
    """

    mode: Literal["all", "days", "rows", "none"]
    reason: str
    inputs: Mapping[str, int]
    write: tuple[DayRange, ...] = ()
    read: tuple[DayRange, ...] = ()

    @property
    def days(self) -> frozenset[dt.date]:
        """The days to replace."""
        return frozenset(
            found.first + _DAY * offset
            for found in self.write
            for offset in range((found.end - found.first).days)
        )

    def to_json(self) -> dict[str, object]:
        """The plan as macros use it."""
        return {
            "mode": self.mode,
            "write": [found.to_json() for found in self.write],
            "read": [found.to_json() for found in self.read],
        }


def plan_rebuild(
    lake: Lake, request: ModelRequest, *, pinned: Mapping[TableName, int | None]
) -> RebuildPlan:
    """Compare what the table was last built from with what is pinned now. Writes nothing.

    `pinned` holds the snapshot of every table this run reads; an empty table has None.
    """
    inputs = {str(name): head for name in request.inputs if (head := pinned[name]) is not None}
    last = last_build(lake, request.target)
    if last is None:
        return RebuildPlan(mode="all", reason="first build", inputs=inputs)
    if request.full_refresh:
        return RebuildPlan(mode="all", reason="full refresh", inputs=inputs)
    if last.code != request.code:
        return RebuildPlan(mode="all", reason="definition changed", inputs=inputs)
    changed = {
        name: last.inputs.get(str(name))
        for name in request.inputs
        if pinned[name] != last.inputs.get(str(name))
    }
    if not changed:
        return RebuildPlan(mode="none", reason="inputs unchanged", inputs=inputs)
    if request.strategy == "table":
        return RebuildPlan(mode="all", reason="inputs changed", inputs=inputs)
    if request.strategy in {"append", "merge"}:
        return RebuildPlan(mode="rows", reason="inputs changed", inputs=inputs)
    return _plan_days(lake, request, changed, inputs=inputs, pinned=pinned)


def last_build(lake: Lake, name: TableName) -> CommitRecord | None:
    """Find the newest commit of a table that says what it was built from, past compactions."""
    if not lake.exists(name):
        return None
    table = lake.table(name)
    head = table.head().snapshot_id
    loaded = table.iceberg()
    record_head(lake.registry, name, loaded.metadata, loaded.io)
    while head is not None:
        record = lake.registry.commit(str(name), head)
        if record is None or (record.code and record.operation != "replace"):
            return record
        head = record.parent_id
    return None


def _plan_days(
    lake: Lake,
    request: ModelRequest,
    changed: Mapping[TableName, int | None],
    *,
    inputs: Mapping[str, int],
    pinned: Mapping[TableName, int | None],
) -> RebuildPlan:
    touched: set[PartitionKey] = set()
    for name, since in changed.items():
        try:
            touched |= changes(lake.table(name), since=since, until=pinned[name]).partitions
        except SnapshotNotFoundError:
            reason = f"`{name}` has lost the snapshot of the last build"
            return RebuildPlan(mode="all", reason=reason, inputs=inputs)
    dirty: set[dt.date] = set()
    for key in touched:
        day = key[0] if len(key) == 1 else None
        if not isinstance(day, dt.date):
            reason = "an input that is not partitioned by day changed"
            return RebuildPlan(mode="all", reason=reason, inputs=inputs)
        dirty.add(day)
    if not dirty:
        return RebuildPlan(mode="none", reason="inputs hold the same rows", inputs=inputs)
    write, read = spread(dirty, reach_days=request.reach_days)
    return RebuildPlan(
        mode="days",
        reason=f"{len(dirty)} input days changed",
        inputs=inputs,
        write=write,
        read=read,
    )


def spread(
    dirty: Collection[dt.date], *, reach_days: int
) -> tuple[tuple[DayRange, ...], tuple[DayRange, ...]]:
    """Give the days that rows of `dirty` influence, and the days these depend on. Pure.

    Ranges are disjoint, not adjacent, and in order.
    """
    reach = _DAY * reach_days
    write = _join(DayRange(day, day + reach + _DAY) for day in dirty)
    return write, _join(DayRange(found.first - reach, found.end) for found in write)


def _join(ranges: Iterable[DayRange]) -> tuple[DayRange, ...]:
    joined: list[DayRange] = []
    for found in sorted(ranges):
        if joined and found.first <= joined[-1].end:
            joined[-1] = DayRange(joined[-1].first, max(joined[-1].end, found.end))
        else:
            joined.append(found)
    return tuple(joined)
