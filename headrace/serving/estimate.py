"""How much a publication would write, estimated before it: rows, and bytes from a sample of them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from headrace.definitions.windows import Windows
from headrace.engines.open import open_engine
from headrace.identifiers import TableName
from headrace.serving.encoded import EngineRows, encoded
from headrace.serving.keys import refuse_unservable
from headrace.serving.newest import NewestRows
from headrace.serving.publish import state_of
from headrace.serving.publish_windows import window_state
from headrace.serving.store import EncodedRow, OnlineRow, OnlineStore, Rows, ViewState
from headrace.serving.target import Target
from headrace.serving.window_reader import WindowReader
from headrace.serving.window_state import row_of
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_SAMPLE = 2_000  # rows at least, if there are as many; twice as many at most
_RELATION = "estimated_view"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a view takes in the store: `rows` entities, and about `bytes` of memory or of its file."""

    view: str
    rows: int
    bytes: int


def estimate(
    lake: OpenLake,
    store: OnlineStore,
    view: TableName,
    *,
    windows: Windows | None = None,
    as_of: datetime | None = None,
) -> Estimate:
    """Count the entities of a view, and measure what a sample of their rows takes in the store.

    Reads all that a first publication reads; writes nothing.

    Raises:
        NotAFeatureViewError: If the table is no feature view, or lacks a column.
        UnservableColumnError: If a column has a type that the store cannot keep.

    """
    as_of = datetime.now(UTC) if as_of is None else as_of
    head = lake.table(view if windows is None else windows.events).head()
    if head.snapshot_id is None:
        return Estimate(view=str(view), rows=0, bytes=0)
    if windows is None:
        return _of_view(lake, store, head, as_of=as_of)
    at = head.snapshot_id
    state = window_state(windows, head, name=windows.view, snapshot_id=at, as_of=as_of)
    reader = WindowReader(windows, head, as_of=as_of)
    with open_engine(lake.settings) as engine:
        return _measured(store, state, (row_of(windows, *one) for one in reader.every(engine)))


def _of_view(
    lake: OpenLake, store: OnlineStore, head: TableVersion, *, as_of: datetime
) -> Estimate:
    target = Target.of(lake, head)
    state = state_of(head, target, head.snapshot_id or 0, before=None, as_of=as_of)
    refuse_unservable(state)
    with open_engine(lake.settings) as engine:
        newest = NewestRows(
            relation=_RELATION,
            declared=target.declared,
            names=head.schema.names,
            columns=target.columns,
            as_of=as_of,
            dialect=engine.dialect,
        )
        engine.bind(_RELATION, head)
        return _measured(store, state, EngineRows(engine, state, [newest.sql()]))


def _measured(store: OnlineStore, state: ViewState, rows: Rows) -> Estimate:
    kept, count = _sampled(rows)
    sample = [encoded(state, row) for row in kept]
    return Estimate(view=state.view, rows=count, bytes=store.bytes_of(state, sample, rows=count))


def _sampled(rows: Rows) -> tuple[list[OnlineRow | EncodedRow], int]:
    """Keep every n-th row, n doubling as they come, and count all."""
    kept, every, count = list[OnlineRow | EncodedRow](), 1, 0
    for row in rows:
        if count % every == 0:
            kept.append(row)
            if len(kept) == 2 * _SAMPLE:
                kept, every = kept[::2], 2 * every
        count += 1
    return kept, count
