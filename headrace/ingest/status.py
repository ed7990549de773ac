"""What a run took from a stream's sources, and how far the stream is."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from headrace.definitions.stream import Stream
from headrace.errors import RecordsRefusedError
from headrace.identifiers import TableName
from headrace.ingest import dead_letters, watermark
from headrace.ingest.field_use import FieldUse
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import Position, Source
from headrace.ingest.sources.files import FileSource
from headrace.tables.lake import OpenLake


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was taken from one split, or from all of a stream's."""

    source: str
    rows: int = 0
    dead_letters: int = 0
    late_rows: int = 0
    commits: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])

    def __add__(self, more: "Taken") -> "Taken":
        """Add what else was taken from the same split."""
        return Taken(
            source=self.source,
            rows=self.rows + more.rows,
            dead_letters=self.dead_letters + more.dead_letters,
            late_rows=self.late_rows + more.late_rows,
            commits=self.commits + more.commits,
            reasons=most_first((self.reasons, more.reasons)),
        )


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What one run took from a stream's sources; all of it is committed.

    `same_content` names, for each source taken, others that were taken up to the same bytes: a file
    that was renamed, copied or linked, whose rows are there once for each name. `undeclared_fields`
    are those of this run's records, `absent_fields` those that no record had so far. `missing` says
    why there is no source at all. `refusal` is the error to end with if too many records were refused.
    """

    stream: str
    table: TableName
    splits: tuple[Taken, ...]
    watermark: datetime | None
    same_content: Mapping[str, tuple[str, ...]]
    undeclared_fields: Mapping[str, int]
    absent_fields: tuple[str, ...]
    missing: str | None
    refusal: RecordsRefusedError | None

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
        """Rows that were older than the watermark when they came."""
        return sum(split.late_rows for split in self.splits)

    @property
    def commits(self) -> int:
        """Commits to the stream's table."""
        return sum(split.commits for split in self.splits)


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """How far a stream is ingested.

    `sources_waiting` have something to take; `sources_unfinished` only a last line that waits for its
    newline; `sources_missing` says why there is none at all. `undeclared_fields` counts records that
    have a field nobody declared (JSON: of those looked at); no record has the `absent_fields`.
    """

    stream: str
    table: TableName
    rows: int
    dead_letters: int
    sources_taken: int
    sources_waiting: tuple[str, ...]
    sources_unfinished: tuple[str, ...]
    sources_missing: str | None
    undeclared_fields: Mapping[str, int]
    absent_fields: tuple[str, ...]
    watermark: datetime | None


def status(lake: OpenLake, stream: Stream, *, source: Source | None = None) -> StreamStatus:
    """Read how far a stream is ingested; changes nothing."""
    source = source or FileSource(stream, data_dir=lake.settings.data_dir)
    version = lake.table(stream.table).head() if lake.exists(stream.table) else None
    positions = None
    if version is not None:
        table = lake.table(stream.table)
        positions = Positions.read(table, version.properties, stream=stream.name)
    look = source.look(_nothing if positions is None else positions.of)
    use = FieldUse.none() if version is None else FieldUse.read(version, stream)
    dead = 0
    if lake.exists(dead_letters.TABLE):
        head = lake.table(dead_letters.TABLE).head()
        dead = sum(entry.rows for entry in head.files(partitions=[(stream.name,)]))
    return StreamStatus(
        stream=stream.name,
        table=stream.table,
        rows=0 if version is None else version.row_count,
        dead_letters=dead,
        sources_taken=0 if positions is None else positions.count,
        sources_waiting=tuple(split.source for split in look.splits),
        sources_unfinished=look.unfinished,
        sources_missing=look.missing,
        undeclared_fields=use.unknown(stream),
        absent_fields=use.absent(stream),
        watermark=watermark.as_time(watermark.read(version.properties) if version else None),
    )


def most_first(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts, the greatest first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _nothing(_: Collection[str]) -> Mapping[str, Position]:
    return {}
