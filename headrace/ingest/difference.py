"""What a contract as it is declared now would do to its table, and to records that are there already.

Changes nothing. Columns are compared as a commit would compare them; committed rows and dead letters go
through the checks of ingestion.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
from pyiceberg.table.metadata import TableMetadata

from headrace.config import Settings
from headrace.definitions.stream import COORDINATES, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.errors import ContractError
from headrace.iceberg import partitions, schema
from headrace.ingest import dead_letters, letters
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.letter_removal import taken_by
from headrace.ingest.letters import Coordinates
from headrace.ingest.refusals import Refusal, Refusals
from headrace.ingest.sources.open import schemas_of
from headrace.ingest.stream_tables import effective_contract, known_schemas
from headrace.ingest.topic_difference import TopicDifference, topic_difference
from headrace.tables.evolution.declare import compare_columns, refuse_other_partitions
from headrace.tables.evolution.steps import AddColumn, MakeOptional, RenameColumn, WidenColumn
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


class Change(StrEnum):
    """What becomes of one column at the next commit."""

    CREATED = "created"  # with a table that is not there yet
    ADDED = "added"  # null in older rows
    WIDENED = "widened"
    OPTIONAL = "made optional"
    RENAMED = "renamed"  # a row coordinate with its former name
    UNDECLARED = "no longer declared"  # it stays, null in newer rows
    IMPOSSIBLE = "impossible"  # no commit can do it: nothing is ingested until that is settled


@dataclass(frozen=True, kw_only=True)
class ColumnChange:
    """One column: its type in the table and by the contract, each None where there is none.

    `reason` is the code of the error that a commit would end with, and `detail` says it.
    """

    column: str
    change: Change
    before: str | None = None
    after: str | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A contract against its table: what changes, and what it says of records that are there.

    Committed rows stay whatever it says of them: they are not read again. Dead letters that would be
    rows wait for a replay. `topic` compares with a sample of the topic, if the source is one. `evolved`
    has the types of fields that records added to the contract, or widened (`unknown_fields: evolve`).
    """

    stream: str
    table: str
    snapshot_id: int | None
    columns: tuple[ColumnChange, ...]
    rows: int
    refused_rows: tuple[Refusal, ...]
    letters: int
    refused_letters: tuple[Refusal, ...]
    topic: TopicDifference | None = None
    evolved: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_first(self) -> bool:
        """Whether there is no table yet."""
        return any(each.change is Change.CREATED for each in self.columns)

    @property
    def impossible(self) -> tuple[ColumnChange, ...]:
        """The changes that no commit can make."""
        return tuple(each for each in self.columns if each.change is Change.IMPOSSIBLE)


def difference(lake: OpenLake, stream: Stream) -> Difference:
    """Compare a contract with its table and with every committed row and dead letter.

    Reads the columns of the contract of all rows, and up to 3,000 records of a topic, for whose brokers
    it waits 3 s; memory holds one batch.

    Raises:
        StorageError: If a file cannot be read.
        SchemaUnavailableError: If dead letters need a schema that cannot be had.
        SourceError: If the brokers refuse the topic, or have none of that name.

    """
    wanted = effective_contract(lake, stream)
    if not lake.exists(stream.table):
        columns = _created(wanted)
        rows, head = Refusals(), None
    else:
        table = lake.table(stream.table)
        head = table.head()
        columns = column_changes(table.iceberg().metadata, wanted)
        rows = _refused_rows(head, wanted)
    kept = _refused_letters(lake, wanted, head)
    return Difference(
        stream=stream.name,
        table=str(stream.table),
        snapshot_id=None if head is None else head.snapshot_id,
        columns=columns,
        rows=rows.records,
        refused_rows=rows.most_first(),
        letters=kept.records,
        refused_letters=kept.most_first(),
        topic=topic_difference(lake.settings, wanted),
        evolved={
            name: each.type.text
            for name, each in wanted.fields.items()
            if name not in stream.fields or stream.fields[name].type != each.type
        },
    )


def difference_without_lake(settings: Settings, stream: Stream) -> Difference:
    """Compare a contract with a sample of its topic before there is any table, as `difference` does.

    Raises:
        SchemaUnavailableError: If a schema cannot be had.
        SourceError: If the brokers refuse the topic, or have none of that name.

    """
    return Difference(
        stream=stream.name,
        table=str(stream.table),
        snapshot_id=None,
        columns=_created(stream),
        rows=0,
        refused_rows=(),
        letters=0,
        refused_letters=(),
        topic=topic_difference(settings, stream),
    )


def _created(stream: Stream) -> tuple[ColumnChange, ...]:
    return tuple(
        ColumnChange(column=each.name, change=Change.CREATED, after=str(each.type))
        for each in stream.table_schema()
    )


def column_changes(metadata: TableMetadata, stream: Stream) -> tuple[ColumnChange, ...]:
    """Compare the columns of a table with those of a contract; without those that agree. Pure."""
    wanted, table = stream.table_schema(), str(stream.table)
    have = schema.to_arrow(metadata.schema())
    changes: list[ColumnChange] = []
    terms = tuple(partitions.Term.parse(text) for text in stream.partition_by)
    try:
        refuse_other_partitions(metadata, terms, table=table)
    except ContractError as error:
        detail, reason = error.detail, str(error.reason)
        changes.append(
            ColumnChange(
                column="partition_by", change=Change.IMPOSSIBLE, reason=reason, detail=detail
            )
        )
    for name, found in compare_columns(metadata, wanted, table=table).items():
        before = str(have.field(name).type) if name in have.names else None
        after = str(wanted.field(name).type) if name in wanted.names else None
        if isinstance(found, ContractError):
            changes.append(
                ColumnChange(
                    column=name,
                    change=Change.IMPOSSIBLE,
                    before=before,
                    after=after,
                    reason=str(found.reason),
                    detail=found.detail,
                )
            )
            continue
        kinds = [_CHANGES[type(step)] for step in found if type(step) in _CHANGES]
        if after is None and Change.RENAMED not in kinds:
            kinds = [Change.UNDECLARED]
        changes += [
            ColumnChange(column=name, change=kind, before=before, after=after) for kind in kinds
        ]
    return tuple(changes)


_CHANGES: Mapping[type, Change] = {
    AddColumn: Change.ADDED,
    WidenColumn: Change.WIDENED,
    MakeOptional: Change.OPTIONAL,
    RenameColumn: Change.RENAMED,
}


def _refused_rows(head: TableVersion, stream: Stream) -> Refusals:
    """Check the committed values of declared fields as if they came again."""
    found = Refusals()
    columns = {
        name: stream.column_of(name)
        for name in stream.fields
        if stream.column_of(name) in head.schema.names
    }
    as_stored = _as_stored(stream, columns, head.schema)
    coordinates = [name for name in COORDINATES.names[:3] if name in head.schema.names]
    for batch in head.batches(columns=[*dict.fromkeys(columns.values()), *coordinates]):
        decoded = Decoded(
            index=np.arange(batch.num_rows),
            columns={name: batch.column(column) for name, column in columns.items()},
            violations={},
        )
        found.records += batch.num_rows
        for row, violation in check(decoded, as_stored).violations.items():
            at = [batch.column(name)[row].as_py() for name in coordinates]
            found.add(violation, Coordinates(*at) if len(at) == 3 else Coordinates("", 0, row))
    return found


def _as_stored(stream: Stream, columns: Mapping[str, str], have: pa.Schema) -> Stream:
    """Return the contract for values of the table: its times are moments, whatever records hold."""
    plain = {"unit": None, "timezone": None, "time_format": None}
    fields = {
        name: field.model_copy(update=plain)
        if name in columns and have.field(columns[name]).type == TIMESTAMP
        else field
        for name, field in stream.fields.items()
    }
    return stream.model_copy(update={"fields": fields})


def _refused_letters(lake: OpenLake, stream: Stream, head: TableVersion | None) -> Refusals:
    """Check the dead letters of complete commits as a replay would."""
    found = Refusals()
    if head is None or not lake.exists(dead_letters.TABLE):
        return found
    schemas = schemas_of(stream, lake.settings)
    if schemas is not None:
        schemas.expect(known_schemas(stream, head.properties))
    is_taken = taken_by(lake.table(stream.table), head.properties, stream)
    for kept in letters.records(
        letters.head(lake), stream, choice=letters.EVERY, is_taken=is_taken
    ):
        records = replace(kept, schemas=schemas)
        checked = check(decode(records, stream), stream)
        found.records += records.count
        offsets = records.offsets.tolist()
        for place, violation in checked.violations.items():
            found.add(violation, Coordinates(*records.partition, offsets[place]))
    return found


def lines_of(found: Difference) -> Iterator[str]:
    """Say what was found, a sentence a line."""
    for each in found.columns:
        types = " -> ".join(dict.fromkeys(part for part in (each.before, each.after) if part))
        detail = f": {each.detail}" if each.detail else ""
        yield f"`{each.column}` {each.change}{f' ({types})' if types else ''}{detail}"
    for name, text in found.evolved.items():
        yield f"`{name}` is {text} by what records brought; the contract may declare it so"
    yield from _said(found.rows, found.refused_rows, "committed rows", "would be refused")
    yield from _said(found.letters, found.refused_letters, "dead letters", "would stay refused")
    if found.topic is not None:
        yield from _of_topic(found.topic)


def _of_topic(found: TopicDifference) -> Iterator[str]:
    if found.unreachable:
        yield found.unreachable
    yield from _said(
        found.records, found.refused, "sampled records of the topic", "would be refused"
    )
    for name, count in found.undeclared.items():
        yield f"`{name}` is not declared, and {count:,} sampled records of the topic have it"


def _said(count: int, refusals: Sequence[Refusal], what: str, verdict: str) -> Iterable[str]:
    refused = sum(each.count for each in refusals)
    if count:
        yield f"{refused:,} of {count:,} {what} {verdict}"
    for each in refusals:
        example = ":".join(map(str, each.example))
        yield f"  {each.count:,} {each.code}: {each.reason} (as {example})"
