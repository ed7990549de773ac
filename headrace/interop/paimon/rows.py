"""The rows of a Paimon table as the lake has them: with kinds, coordinates and times."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT
from headrace.definitions.types import TIMESTAMP
from headrace.errors import PaimonReadError, PaimonReason, PaimonUnsupportedError
from headrace.interop.paimon.facts import Changes, PaimonDefinition, PaimonSnapshot
from headrace.interop.paimon.files import BEFORE, DELETED, INSERTED, ROW_KIND, DataFile, read
from headrace.interop.paimon.naming import naming
from headrace.interop.paimon.plan import has_changes
from headrace.interop.paimon.support import refuse_state
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.token import source_of

_ROWS_BITS = 32  # of an offset: the row within its snapshot; the rest is the snapshot's id
_POSITION = "_position"


class TakenAs(StrEnum):
    """What an import makes of a table."""

    CHANGES = "changes"  # one row for each change, with its kind
    FEATURES = "features"  # one row for each key and snapshot: a slowly changing feature view
    STATE = "state"  # the rows of one snapshot, in place of those before


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The columns that an import writes; `event_time` is None where the commit time is the event time."""

    taken_as: TakenAs
    definition: PaimonDefinition
    event_time: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the target.

        Raises:
            PaimonUnsupportedError: If a column has the name of one that the import writes, or the
                table has no key, or not the event time.

        """
        keys = set(self.definition.keys)
        own = [
            field.with_nullable(field.name not in keys).with_type(_plain(field.type))
            for field in self.definition.schema
        ]
        if self.taken_as is TakenAs.STATE:
            return pa.schema(own)
        self._refuse_names({ROW_KIND, *COORDINATES.names})
        kind = pa.field(ROW_KIND, pa.string(), nullable=False)
        if self.taken_as is TakenAs.CHANGES:
            return pa.schema([*own, kind, *COORDINATES])
        self._refuse_unfit()
        times = [pa.field(name, TIMESTAMP, nullable=False) for name in (EVENT_TIME, KNOWN_AT)]
        values = [field for field in own if field.name != EVENT_TIME]
        return pa.schema([*times, *values, kind, *COORDINATES])

    def _refuse_unfit(self) -> None:
        table = self.definition
        if not table.keys:
            raise PaimonUnsupportedError(
                table.name,
                "it has no primary key, so its rows are no states of entities",
                reason=PaimonReason.KEY_ABSENT,
            )
        self._refuse_names({EVENT_TIME, KNOWN_AT} - {self.event_time})
        if self.event_time is None:
            return
        position = table.schema.get_field_index(self.event_time)
        if position < 0 or table.schema.field(position).type != TIMESTAMP:
            raise PaimonUnsupportedError(
                table.name,
                f"`{self.event_time}` is no column of type TIMESTAMP WITH LOCAL TIME ZONE",
                reason=PaimonReason.COLUMN_TYPE,
                column=self.event_time,
            )

    def _refuse_names(self, taken: Collection[str]) -> None:
        for name in self.definition.schema.names:
            if name in taken:
                raise PaimonUnsupportedError(
                    self.definition.name,
                    f"column `{name}` has a name that the import gives to a column of its own",
                    reason=PaimonReason.RESERVED_COLUMN,
                    column=name,
                )


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type that the lake's tables have for a type of Paimon; lists have `element`s."""
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type)))
    if pa.types.is_int8(kind) or pa.types.is_int16(kind):
        return pa.int32()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    return kind


def state_rows(
    table: PaimonTable, snapshot: PaimonSnapshot, *, tag: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a snapshot, in the columns of today.

    Raises:
        PaimonUnsupportedError: If only Flink merges them.

    """
    refuse_state(table.definition)
    if table.definition.keys:
        yield from table.merged(snapshot.id, tag=tag)
        return
    for file in table.files_of(snapshot.id, tag=tag):
        yield from _read(table, file, kinds=False)


def change_rows(
    table: PaimonTable, snapshot: PaimonSnapshot, changes: Changes
) -> Iterator[pa.RecordBatch]:
    """Yield the changes of one snapshot with their kinds, those of a key in the order they happened."""
    if not has_changes(snapshot, changes):
        return
    for file in table.changed_files_of(snapshot.id, changelog=changes is Changes.CHANGELOG):
        yield from _read(table, file, kinds=True)


def _read(table: PaimonTable, file: DataFile, *, kinds: bool) -> Iterator[pa.RecordBatch]:
    columns, schema = table.columns_of(file.schema_id), table.definition.schema
    with naming(table.name), table.open_input(file.path) as opened:
        yield from read(file, opened, columns=columns, schema=schema, kinds=kinds)


def inserted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Give every row the kind of an insert."""
    for batch in batches:
        yield batch.append_column(ROW_KIND, pa.repeat(INSERTED, batch.num_rows))


def with_coordinates(
    batches: Iterator[pa.RecordBatch], snapshot: PaimonSnapshot, *, table: str
) -> Iterator[pa.RecordBatch]:
    """Number the rows of a snapshot. The same snapshot gives the same offsets whenever it is read.

    Raises:
        PaimonReadError: If a snapshot has more rows than offsets.

    """
    count = 0
    for batch in batches:
        rows = batch.num_rows
        if count + rows >= 1 << _ROWS_BITS:
            raise PaimonReadError(table, f"snapshot {snapshot.id} has {count + rows} changes")
        first = (snapshot.id << _ROWS_BITS) + count
        values = {
            "_source": pa.repeat(source_of(table), rows),
            "_source_partition": pa.repeat(pa.scalar(0, pa.int32()), rows),
            "_source_offset": pa.array(range(first, first + rows), pa.int64()),
            "_source_time": pa.repeat(pa.scalar(snapshot.committed_at, TIMESTAMP), rows),
        }
        for name in COORDINATES.names:
            batch = batch.append_column(name, values[name])
        count += rows
        yield batch


def as_features(
    batches: Iterator[pa.RecordBatch],
    *,
    keys: Sequence[str],
    committed_at: dt.datetime,
    event_time: str | None,
) -> Iterator[pa.RecordBatch]:
    """Reduce the changes of a snapshot to the state that each changed key has after it.

    What happened within a snapshot became known at once, so only its last state was ever visible.
    A deleted key has null values from then on. Holds the changes of one snapshot in memory.
    """
    found = list(batches)
    if not found:
        return
    rows = pa.Table.from_batches(found)
    rows = rows.filter(pc.not_equal(rows.column(ROW_KIND), BEFORE))
    rows = rows.append_column(_POSITION, pa.array(range(rows.num_rows), pa.int64()))
    last = rows.group_by(list(keys)).aggregate([(_POSITION, "max")]).column(f"{_POSITION}_max")
    rows = rows.take(last.combine_chunks().sort())
    for batch in rows.drop_columns([_POSITION]).combine_chunks().to_batches():
        yield _with_times(batch, keys=keys, committed_at=committed_at, event_time=event_time)


def state_features(
    batches: Iterator[pa.RecordBatch],
    *,
    keys: Sequence[str],
    committed_at: dt.datetime,
    event_time: str | None,
) -> Iterator[pa.RecordBatch]:
    """Give the rows of a state their times: each key occurs once."""
    for batch in batches:
        yield _with_times(batch, keys=keys, committed_at=committed_at, event_time=event_time)


def _with_times(
    batch: pa.RecordBatch,
    *,
    keys: Sequence[str],
    committed_at: dt.datetime,
    event_time: str | None,
) -> pa.RecordBatch:
    times = pa.repeat(pa.scalar(committed_at, TIMESTAMP), batch.num_rows)
    happened = times if event_time is None else batch.column(event_time).cast(TIMESTAMP)
    is_deleted = pc.equal(batch.column(ROW_KIND), DELETED)
    kept = {*keys, ROW_KIND, *COORDINATES.names}
    arrays, names = [happened, times], [EVENT_TIME, KNOWN_AT]
    for name in batch.schema.names:
        if name == EVENT_TIME:
            continue
        column = batch.column(name)
        if name not in kept:
            column = pc.if_else(is_deleted, pa.scalar(None, column.type), column)
        arrays.append(column)
        names.append(name)
    return pa.RecordBatch.from_arrays(arrays, names=names)
