"""Writes the rows of a window view that are missing up to now, in one commit.

The newest row says how far the table is: rows that are known earlier are complete. So a run that was
interrupted is repeated, and adds what is missing.
"""

import uuid
from dataclasses import dataclass

from pyiceberg.table import Table

from headrace.definitions.stream import COORDINATES, KNOWN_AT
from headrace.definitions.window_rows import WindowRows
from headrace.engines.base import Engine
from headrace.engines.open import open_engine
from headrace.errors import FencedError, NothingToFollowError, StreamOwnedError
from headrace.flink.begin import Begin
from headrace.flink.view_limits import refuse_view
from headrace.identifiers import TableName, quote
from headrace.ingest.owner import HEADRACE, Owner
from headrace.samples.window_rows import rows_sql
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

_NONE_US = -(1 << 60)  # before all times


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The rows that a feature table lacks: those known after `after_us` and by `until_us`.

    Args:
        events: The version of the events' table that has all that counts for them.
        table: The version of the feature table that lacks them.

    """

    rows: WindowRows
    events: TableVersion
    table: TableVersion
    after_us: int
    until_us: int

    @property
    def begin(self) -> Begin:
        """Where a job begins once they are there."""
        return Begin.at(self.events.metadata, after_us=self.until_us)


def feature_table(lake: OpenLake, rows: WindowRows) -> LakeTable:
    """Create the feature table of a window view, or bring it in line."""
    return declare_table(
        lake,
        rows.table,
        rows.schema(),
        partition_by=("day(event_time)",),
        properties=rows.properties(),
    )


def bring_up(lake: OpenLake, rows: WindowRows) -> int:
    """Add the rows that are missing up to now, unless a job of Flink writes them; returns how many.

    A second run adds nothing.

    Raises:
        FlinkCannotViewError: If SQL cannot write the view's rows.
        NothingToFollowError: If there are no events yet.
        FencedError: If another run added rows meanwhile; nothing was committed.
        StreamOwnedError: If a job began meanwhile; nothing was committed.

    """
    refuse_view(rows)
    table = feature_table(lake, rows)
    owner = Owner.read(table.head().properties, stream=rows.windows.view)
    if owner.by != HEADRACE:
        return 0
    return add_rows(lake, missing_rows(lake, rows, table), table, owner=owner)


def missing_rows(lake: OpenLake, rows: WindowRows, table: LakeTable) -> Missing:
    """Look at how far events and rows are; writes nothing.

    Raises:
        NothingToFollowError: If there are no events yet, whose times the rows would follow.

    """
    name = TableName.parse(rows.windows.events)
    events = lake.head_of(name)
    if events is None or events.snapshot is None or not events.row_count:
        raise NothingToFollowError(rows.windows.view, table=str(name))
    head, hop_us = table.head(), rows.windows.hop_us
    with open_engine(lake.settings) as engine:
        epoch_us = engine.dialect.epoch_us
        # and no delay: later rows may be known before the newest ones, as long as their delay is not over
        newest = _one(engine, events, epoch_us(KNOWN_AT))
        done = _one(engine, head, epoch_us(KNOWN_AT)) if head.row_count else None
    newest = min(newest or 0, lake.now_ms() * 1000)  # a wrong clock settles nothing
    settled = newest - rows.disorder_ms * 1000
    until_us = settled - settled % hop_us
    after_us = _NONE_US if done is None else done
    return Missing(
        rows=rows,
        events=events,
        table=head,
        after_us=after_us,
        until_us=max(until_us, after_us),
    )


def _one(engine: Engine, version: TableVersion, value: str) -> int | None:
    engine.bind(str(version.name), version)
    relation = ".".join(map(quote, str(version.name).split(".")))
    found = engine.query(f"select max({value}) as found from {relation}").read_all()
    return found["found"][0].as_py()


def add_rows(lake: OpenLake, missing: Missing, table: LakeTable, *, owner: Owner) -> int:
    """Compute the missing rows with the lake's engine, and commit them; returns how many.

    Args:
        lake: The lake.
        missing: What is missing.
        table: The feature table.
        owner: Who owned it when no job was seen to run.

    Raises:
        FencedError: If the table changed since; nothing was committed.
        StreamOwnedError: If the owner changed since: a job may write these rows. Nothing was committed.

    """
    if missing.until_us <= missing.after_us:
        return 0
    events = str(missing.events.name)
    with open_engine(lake.settings) as engine:
        engine.bind(events, missing.events)
        sql = rows_sql(
            missing.rows,
            ".".join(map(quote, events.split("."))),
            COORDINATES.names[:3],
            dialect=engine.dialect,
            after_us=max(missing.after_us, 0),
            until_us=missing.until_us,
        )
        files = engine.write(sql, into=table)
    with fresh(table, files):
        append(
            table,
            files,
            provenance=Provenance(
                inputs={events: missing.begin.snapshot_id},
                run_id=f"backfill-{uuid.uuid4().hex[:8]}",
            ),
            guard=_Unchanged(missing.table, missing.rows.windows.view, owner),
        )
    return sum(file.record_count for file in files)


class _Unchanged:
    """Refuses a commit to a table that has another snapshot or owner than those that were looked at.

    A job that has started commits nothing for a while, so the snapshot alone does not tell.
    """

    def __init__(self, version: TableVersion, view: str, owner: Owner) -> None:
        self._version, self._view, self._owner = version, view, owner

    def __call__(self, base: Table) -> None:
        owner = Owner.read(base.properties, stream=self._view)
        if owner != self._owner:
            raise StreamOwnedError(
                self._view, owner=owner.by, epoch=owner.epoch, wanted=self._owner.by
            )
        found = base.current_snapshot()
        snapshot_id = None if found is None else found.snapshot_id
        if snapshot_id != self._version.snapshot_id:
            expected, now = str(self._version.snapshot_id), str(snapshot_id)
            raise FencedError(str(self._version.name), expected=expected, found=now)
