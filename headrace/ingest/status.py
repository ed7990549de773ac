"""What a run took from a stream's sources, and how far the stream is."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from headrace.clock import time_at
from headrace.definitions.stream import Stream
from headrace.errors import RecordsRefusedError, SourceError
from headrace.identifiers import TableName
from headrace.ingest import dead_letters, watermark
from headrace.ingest.evolution import effective
from headrace.ingest.field_use import FieldUse
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, ReaderStatus, Source, SourcePartition
from headrace.ingest.sources.open import open_source
from headrace.shown import cut, facts_html
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

ANSWER_S_MAX = 3.0  # of brokers: who asks for the status waits in front of it


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one run took of one partition of a source, such as a file."""

    source: str
    partition: int = 0
    rows: int = 0
    dead_letters: int = 0
    late_rows: int = 0
    commits: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])

    def __add__(self, more: "Taken") -> "Taken":
        """Add what else was taken of the same partition."""
        return Taken(
            source=self.source,
            partition=self.partition,
            rows=self.rows + more.rows,
            dead_letters=self.dead_letters + more.dead_letters,
            late_rows=self.late_rows + more.late_rows,
            commits=self.commits + more.commits,
            reasons=most_first((self.reasons, more.reasons)),
        )


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What one run took from a stream's sources; all of it is committed.

    Args:
        stream: The stream's name.
        table: The stream's table.
        splits: What was taken of each partition; one commit may hold several.
        commits: How many commits the run made to the stream's table.
        watermark: The time up to which the stream is complete.
        same_content: For each file taken, other files of the same content: one that was renamed,
            copied or linked, whose rows are in the table once for each name.
        undeclared_fields: Fields of this run's records that the contract does not declare, with the
            number of records.
        absent_fields: Declared fields that no record had so far.
        missing: Why there is no source at all, if so.
        refusal: The error to end with, if too many records were refused.
        skipped: Why files were left out; the next run tries them again.

    """

    stream: str
    table: TableName
    splits: tuple[Taken, ...]
    commits: int
    watermark: datetime | None
    same_content: Mapping[str, tuple[str, ...]]
    undeclared_fields: Mapping[str, int]
    absent_fields: tuple[str, ...]
    missing: str | None
    refusal: RecordsRefusedError | None
    skipped: tuple[SourceError, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """Why records were refused in this run, the most frequent reason first."""
        return most_first(split.reasons for split in self.splits)

    @property
    def rows(self) -> int:
        """Rows added to the stream's table."""
        return sum(split.rows for split in self.splits)

    @property
    def dead_letters(self) -> int:
        """Records refused by the contract, in this run's commits."""
        return sum(split.dead_letters for split in self.splits)

    @property
    def late_rows(self) -> int:
        """Rows that were older than the watermark when they were taken."""
        return sum(split.late_rows for split in self.splits)

    def __repr__(self) -> str:
        return (
            f"IngestResult({', '.join(f'{name} {text}' for name, text in self._facts().items())})"
        )

    def _repr_html_(self) -> str:
        return facts_html(self._facts())

    def _facts(self) -> dict[str, str]:
        refused = ", ".join(f"{why} {count:,}" for why, count in self.reasons.items())
        facts = {
            "stream": self.stream,
            "table": str(self.table),
            "sources": f"{len(self.splits):,}",
            "rows": f"{self.rows:,}",
            "dead letters": f"{self.dead_letters:,}" + (f" ({refused})" if refused else ""),
            "late rows": f"{self.late_rows:,}",
            "watermark": f"{self.watermark:%Y-%m-%d %H:%M:%S} UTC" if self.watermark else "none",
            "left out": f"{len(self.skipped):,} files" if self.skipped else "",
            "nothing to read": self.missing or "",
        }
        return {name: cut(text) for name, text in facts.items() if text}


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """How far a stream is ingested.

    Args:
        stream: The stream's name.
        table: The stream's table.
        rows: Rows in the table.
        dead_letters: Refused records of the stream.
        sources_taken: How many files or partitions something was taken of.
        sources_waiting: Those with something to take.
        sources_unfinished: Files whose only new line waits for its newline.
        sources_skipped: Files that a person said to leave out.
        sources_missing: Why there is no source at all, if so.
        undeclared_fields: Fields that the contract does not declare, with the number of records that
            had them (of JSON records: of those sampled).
        absent_fields: Declared fields that no record had so far.
        watermark: The time up to which the stream is complete.
        committed_at: When its table was last committed to; None before the first time.

    """

    stream: str
    table: TableName
    rows: int
    dead_letters: int
    sources_taken: int
    sources_waiting: tuple[str, ...]
    sources_unfinished: tuple[str, ...]
    sources_skipped: tuple[str, ...]
    sources_missing: str | None
    undeclared_fields: Mapping[str, int]
    absent_fields: tuple[str, ...]
    watermark: datetime | None
    committed_at: datetime | None


def status(lake: OpenLake, stream: Stream, *, source: Source | None = None) -> StreamStatus:
    """Read how far a stream is ingested; changes nothing. Waits 3 s for an answer of brokers.

    Args:
        lake: The lake.
        stream: The contract.
        source: The stream's source, which waits for answers as long as it was told.

    Raises:
        SourceError: If the source cannot be reached, or the registry lost which files were taken.

    """
    source = source or open_source(stream, lake.settings, answer_s_max=ANSWER_S_MAX)
    asked = SourceAsked.of(lake, stream, source)
    return asked.status(asked.ask())


def table_status(lake: OpenLake, stream: Stream) -> StreamStatus:
    """Read what the tables alone say of a stream; what waits at its source stays unknown.

    Raises:
        SourceError: If the registry lost which files were taken.

    """
    return SourceAsked.of(lake, stream, None).status(ReaderStatus())


@dataclass(frozen=True, kw_only=True)
class SourceAsked:
    """A source that is asked what waits there: its stream's table was read before, and is not touched."""

    lake: OpenLake
    stream: Stream
    source: Source | None
    version: TableVersion | None
    positions: Positions | None

    @classmethod
    def of(cls, lake: OpenLake, stream: Stream, source: Source | None) -> Self:
        """Read the positions of the stream's table."""
        version = lake.head_of(stream.table)
        positions = None
        if version is not None:
            stream = effective(stream, version)
            positions = Positions.read(
                LakeTable(lake, stream.table), version.properties, stream=stream.name
            )
        return cls(lake=lake, stream=stream, source=source, version=version, positions=positions)

    def ask(self) -> ReaderStatus:
        """Ask the source; several may be asked at once.

        Raises:
            SourceError: If it cannot be reached, or the registry lost which files were taken.

        """
        if self.source is None:
            return ReaderStatus()
        positions_of = _nothing if self.positions is None else self.positions.of
        with closing(self.source.open(positions_of, rows_per_commit=1)) as reader:
            return reader.status()

    def status(self, found: ReaderStatus) -> StreamStatus:
        """Say how far the stream is, with what its source said."""
        return _status(self.lake, self.stream, self.version, self.positions, found)


def _status(
    lake: OpenLake,
    stream: Stream,
    version: TableVersion | None,
    positions: Positions | None,
    found: ReaderStatus,
) -> StreamStatus:
    use = FieldUse.none() if version is None else FieldUse.read(version, stream)
    letters = lake.head_of(dead_letters.TABLE)
    refused = () if letters is None else letters.files(partitions=[(stream.name,)])
    return StreamStatus(
        stream=stream.name,
        table=stream.table,
        rows=0 if version is None else version.row_count,
        dead_letters=sum(each.rows for each in refused),
        sources_taken=0 if positions is None else positions.count,
        sources_waiting=tuple(each.key for each in found.waiting),
        sources_unfinished=tuple(each.key for each in found.unfinished),
        sources_skipped=() if positions is None else tuple(sorted(positions.skipped)),
        sources_missing=found.missing,
        undeclared_fields=use.unknown(stream),
        absent_fields=use.absent(stream),
        watermark=watermark.as_time(watermark.read(version.properties) if version else None),
        committed_at=None if version is None else time_at(version.committed_at_ms),
    )


def most_first(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts; the greatest comes first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _nothing(_: Collection[SourcePartition]) -> Mapping[SourcePartition, Position]:
    return {}
