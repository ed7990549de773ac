"""Which days of a model's table must be rebuilt, from the changes of its inputs."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH

from headrace.clock import EPOCH_DAY, ONE_DAY
from headrace.definitions.properties import STREAM_PROPERTY
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    ModelRowsError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.integrations.model_request import ModelRequest, is_comparable
from headrace.registry import CommitRecord
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.changes import changed_days, changes
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

_BY_ROWS = frozenset({"append", "merge"})  # models that select the new rows themselves


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
            "first_day": (self.first - EPOCH_DAY).days,
            "end_day": (self.end - EPOCH_DAY).days,
        }


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """What one build of a model does.

    `mode` is `all` (replace the table), `days` (replace the days in `write`, reading the days in
    `read`), `rows` (the model selects the new rows) or `none`. `base` is the snapshot of the
    build it was planned on, None for a table without one.
    """

    mode: Literal["all", "days", "rows", "none"]
    reason: str
    inputs: Mapping[str, int]
    base: int | None = None
    write: tuple[DayRange, ...] = ()
    read: tuple[DayRange, ...] = ()

    @property
    def days(self) -> frozenset[dt.date]:
        """The days to replace."""
        return frozenset(
            found.first + ONE_DAY * offset
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
    lake: OpenLake,
    request: ModelRequest,
    *,
    pinned: Mapping[TableName, int | None],
    own: TableVersion | None,
) -> RebuildPlan:
    """Compare the inputs of the last build with the pinned inputs. Writes nothing.

    `pinned` holds the snapshot of every table this run reads; an empty table has None. `own` is the
    model's table as its SQL reads it, None if it does not exist: a plan made from a newer version
    would commit rows that were selected by an older one.

    Raises:
        ModelRowsError: If all rows would have to be computed and the model has `full_refresh: false`,
            or if the table holds what a stream has ingested.

    """
    inputs = {str(name): head for name in request.inputs if (head := pinned[name]) is not None}
    last = None if own is None else _build_of(lake.table(own.name), own.metadata)
    if last is None or STREAM_PROPERTY in (own.properties if own else {}):
        _refuse_foreign_rows(lake, request)  # ingestion records builds of its own
    if last is None:
        return RebuildPlan(mode="all", reason="first build", inputs=inputs)
    plan = _plan_from(lake, request, last, inputs=inputs, pinned=pinned)
    if plan.mode == "all" and request.keeps_history:
        raise ModelRowsError(
            str(request.target),
            f"all rows would have to be computed ({plan.reason}), and `full_refresh: false` forbids "
            "that; take it out for one run to replace the table",
        )
    if plan.mode == "rows" and _was_built_empty(lake, last, request.target):
        # `where id > (select max(id) from {{ this }})` would never find new rows
        plan = RebuildPlan(mode="all", reason="the table has no rows yet", inputs=inputs)
    return replace(plan, base=last.snapshot_id)


def _was_built_empty(lake: OpenLake, last: CommitRecord, name: TableName) -> bool:
    version = lake.table(name).head()
    return version.snapshot_id == last.snapshot_id and version.summary.get("total-records") == "0"


def _refuse_foreign_rows(lake: OpenLake, request: ModelRequest) -> None:
    """Refuse to replace rows that no model has built: they cannot be recomputed."""
    version = lake.head_of(request.target)
    if version is None:
        return
    stream = version.properties.get(STREAM_PROPERTY)
    if version.snapshot_id is not None and (stream or request.keeps_history):
        whose = f"stream `{stream}` has ingested" if stream else "no model has built"
        detail = f"its table holds rows that {whose}; give the model another name or schema"
        raise ModelRowsError(str(request.target), detail)


def _plan_from(
    lake: OpenLake,
    request: ModelRequest,
    last: CommitRecord,
    *,
    inputs: Mapping[str, int],
    pinned: Mapping[TableName, int | None],
) -> RebuildPlan:
    if request.full_refresh:
        return RebuildPlan(mode="all", reason="full refresh", inputs=inputs)
    changed = {
        name: last.inputs.get(str(name))
        for name in request.inputs
        if pinned[name] != last.inputs.get(str(name))
    }
    if any(_is_outdated(lake, name, pinned[name], built=of) for name, of in changed.items()):
        return RebuildPlan(mode="none", reason="a newer run has built it", inputs=inputs)
    redefined = _redefined(request, last)
    if redefined and not request.keeps_history:
        return RebuildPlan(mode="all", reason=redefined, inputs=inputs)
    if not changed:
        reason = f"{redefined}, `full_refresh: false` keeps its rows" if redefined else ""
        return RebuildPlan(mode="none", reason=reason or "inputs unchanged", inputs=inputs)
    if request.strategy == "table":
        return RebuildPlan(mode="all", reason="inputs changed", inputs=inputs)
    if request.strategy in _BY_ROWS:
        return RebuildPlan(mode="rows", reason="inputs changed", inputs=inputs)
    return _plan_days(lake, request, changed, inputs=inputs, pinned=pinned)


def _redefined(request: ModelRequest, last: CommitRecord) -> str:
    if last.code == request.code:
        return ""
    if is_comparable(last.code):
        return "definition changed"
    # a rebuild gives equal rows from equal inputs; rows that inputs have lost are only in the table
    return "" if request.strategy in _BY_ROWS else "built by an earlier version of headrace"


def _is_outdated(lake: OpenLake, name: TableName, pinned: int | None, *, built: int | None) -> bool:
    """Whether a table was built from a later, still valid snapshot than this run reads."""
    if built is None:
        return False
    table = lake.table(name)
    metadata = table.iceberg().metadata
    head = metadata.snapshot_by_name(MAIN_BRANCH)
    if head is None or head.snapshot_id == pinned:
        return False  # what it was built from has been rolled back since
    ancestry = Ancestry.of(table, metadata)
    if ancestry.path(head.snapshot_id, back_to=built) is None:
        return False
    return pinned is None or ancestry.path(built, back_to=pinned) is not None


def last_build(lake: OpenLake, name: TableName) -> CommitRecord | None:
    """Find the newest commit of a table that records its inputs; compactions do not."""
    if not lake.exists(name):
        return None
    table = lake.table(name)
    return _build_of(table, table.iceberg().metadata)


def only_after(table: LakeTable, *, base: int | None) -> Callable[[Table], None]:
    """Guard a commit: it lands only on a table whose newest build is still `base`.

    The guard raises `CommitConflictError`.
    """

    def guard(current: Table) -> None:
        found = _build_of(table, current.metadata)
        if (None if found is None else found.snapshot_id) != base:
            detail = "another run has built it since this one began"
            raise CommitConflictError(str(table.name), detail, reason=ConflictReason.BUILT_AGAIN)

    return guard


def _build_of(table: LakeTable, metadata: TableMetadata) -> CommitRecord | None:
    ancestry = Ancestry.of(table, metadata)
    snapshot = metadata.snapshot_by_name(MAIN_BRANCH)
    head = None if snapshot is None else snapshot.snapshot_id
    while head is not None:
        record = ancestry.commit(head)
        if record is None or (record.code and record.operation != "replace"):
            return record
        head = record.parent_id
    return None


def _plan_days(
    lake: OpenLake,
    request: ModelRequest,
    changed: Mapping[TableName, int | None],
    *,
    inputs: Mapping[str, int],
    pinned: Mapping[TableName, int | None],
) -> RebuildPlan:
    dirty: set[dt.date] = set()
    undated = False
    for name, since in changed.items():
        try:
            days = changed_days(changes(lake.table(name), since=since, until=pinned[name]))
        except SnapshotNotFoundError:
            reason = f"`{name}` has lost the snapshot of the last build"
            return RebuildPlan(mode="all", reason=reason, inputs=inputs)
        undated |= days is None
        dirty |= days or frozenset()
    if undated:
        reason = "an input that is not partitioned by day changed"
        return RebuildPlan(mode="all", reason=reason, inputs=inputs)
    if not dirty:
        return RebuildPlan(mode="none", reason="inputs hold the same rows", inputs=inputs)
    write, read = spread(
        dirty, reach_days=request.reach_days, reach_back_days=request.reach_back_days
    )
    return RebuildPlan(
        mode="days",
        reason=f"{len(dirty)} input days changed",
        inputs=inputs,
        write=write,
        read=read,
    )


def spread(
    dirty: Collection[dt.date], *, reach_days: int, reach_back_days: int = 0
) -> tuple[tuple[DayRange, ...], tuple[DayRange, ...]]:
    """Return the days that rows of `dirty` influence, and the days these depend on. Pure.

    Rows influence `reach_days` after their own and `reach_back_days` before it. Ranges are disjoint, not
    adjacent, and in order.
    """
    reach, back = ONE_DAY * reach_days, ONE_DAY * reach_back_days
    write = _join(DayRange(day - back, day + reach + ONE_DAY) for day in dirty)
    return write, _join(DayRange(found.first - reach, found.end + back) for found in write)


def _join(ranges: Iterable[DayRange]) -> tuple[DayRange, ...]:
    joined: list[DayRange] = []
    for found in sorted(ranges):
        if joined and found.first <= joined[-1].end:
            joined[-1] = DayRange(joined[-1].first, max(joined[-1].end, found.end))
        else:
            joined.append(found)
    return tuple(joined)
