"""What a page knows about a lake, as plain records: no handle, no connection, safe to cache."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DEAD_LETTERS = "dead_letters.records"
ONLINE_STORE = "online store"

NodeKind = Literal[
    "raw", "samples", "staging", "features", "dataset", "dead letters", "online", "source", "table"
]


@dataclass(frozen=True, kw_only=True)
class HealthPart:
    """One part of a table's health: points it costs, what was found, what fixing gains."""

    name: str
    finding: str
    penalty: int
    gain: str


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """One thing that maintenance would do next; `place` counts from 1 through the whole lake."""

    place: int
    table: str
    partition: str
    action: str
    reason: str
    gain: str
    cost_bytes: int


@dataclass(frozen=True, kw_only=True)
class WaitingItem:
    """One thing that maintenance leaves for later, why, and until when at most."""

    table: str
    partition: str
    action: str
    reason: str
    cost_bytes: int
    until: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """One table at its newest snapshot."""

    name: str
    snapshot_id: int | None
    metadata_location: str
    score: int
    parts: tuple[HealthPart, ...]
    rows: int
    files: int
    small_files: int
    bytes: int
    snapshots: int
    committed_at: dt.datetime | None
    watermark: dt.datetime | None

    @property
    def worst(self) -> HealthPart | None:
        """The part that costs most, if any costs anything."""
        return self.parts[0] if self.parts and self.parts[0].penalty else None


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """One declared stream: where its records come from and what became of those not taken.

    `waiting` counts source files that are not taken, or not to their end, and `missing` says why there
    is none at all. `undeclared` counts records by the fields they have and nobody declared,
    `misspelt` says which of these may be meant to be which declared one; no record has the `absent`.
    """

    name: str
    table: str
    source: str
    dead_letters: int
    reasons: Mapping[str, int]
    waiting: int = 0
    missing: str | None = None
    undeclared: Mapping[str, int] = field(default_factory=dict)
    misspelt: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EdgeFacts:
    """`target` at `target_snapshot_id` was computed from `source` at `source_snapshot_id`.

    `behind` counts commits of the source that the target has not taken in, compactions aside; None
    if the source no longer knows that snapshot.
    """

    source: str
    source_snapshot_id: int
    target: str
    target_snapshot_id: int
    behind: int | None


@dataclass(frozen=True, kw_only=True)
class OnlineView:
    """One feature view in the online store; `behind` as in `EdgeFacts`."""

    view: str
    rows: int
    newest_event_time: dt.datetime | None
    snapshot_id: int
    published_at: dt.datetime
    behind: int | None


@dataclass(frozen=True, kw_only=True)
class LabelRows:
    """Samples of one label by state and sign of the value."""

    label: str
    state: str
    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class DayFacts:
    """One day of a dataset version; `inputs` are the snapshots it was computed from."""

    day: dt.date
    rows: int
    content_hash: str
    inputs: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PinFacts:
    """A tag that keeps one snapshot alive for a version."""

    table: str
    snapshot_id: int
    tag: str


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """One published dataset version, as its lockfile says."""

    name: str
    version: int
    table: str
    snapshot_id: int
    first_day: dt.date
    last_day: dt.date
    filter_labels: str
    left_out: tuple[dt.date, ...]
    rows: int
    positives: int
    content_hash: str
    code: str
    created_at: dt.datetime
    watermarks: Mapping[str, dt.datetime | None]
    labels: tuple[LabelRows, ...]
    days: tuple[DayFacts, ...]
    pins: tuple[PinFacts, ...]
    dense: tuple[str, ...]
    sparse: tuple[str, ...]
    sequence: tuple[str, ...]
    label_names: tuple[str, ...]

    @property
    def title(self) -> str:
        """How people name it: `ctr v1`."""
        return f"{self.name} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class SnapshotFacts:
    """One commit of a table, alive or expired."""

    snapshot_id: int
    committed_at: dt.datetime
    operation: str
    rows_added: int
    rows_removed: int
    files_added: int
    files_removed: int
    inputs: Mapping[str, int]
    run_id: str
    alive: bool
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PartitionFacts:
    """The live files of one partition, by size in bytes."""

    partition: str
    rows: int
    file_bytes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column of a table's schema."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class TableDetail:
    """Everything the page of one table shows beyond its facts."""

    partition_by: tuple[str, ...]
    target_bytes: int
    snapshots: tuple[SnapshotFacts, ...]
    partitions: tuple[PartitionFacts, ...]
    columns: tuple[ColumnFacts, ...]
    tags: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class UnreadableFacts:
    """A table or store of which nothing can be shown: what is wrong, and what to do about it.

    `text` says both; `command` is the first command of the advice, or empty.
    """

    name: str
    code: str
    text: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that failed when it last ran; `subject` is a table, or a dataset as `datasets.ctr`."""

    subject: str
    check: str
    at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class LakeFacts:
    """The whole lake at one moment; empty when nothing was ever written.

    `letters` counts dead letters by stream and error code, those of streams that are no longer
    declared too; None if they cannot be read. `unreadable` are tables, `no_online` says that the
    online store is there and cannot be read.
    """

    tables: tuple[TableFacts, ...] = ()
    unreadable: tuple[UnreadableFacts, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    letters: Mapping[str, Mapping[str, int]] | None = field(default_factory=dict)
    streams: tuple[StreamFacts, ...] = ()
    edges: tuple[EdgeFacts, ...] = ()
    versions: tuple[VersionFacts, ...] = ()
    online: tuple[OnlineView, ...] = ()
    no_online: UnreadableFacts | None = None
    queue: tuple[QueueItem, ...] = ()
    waiting: tuple[WaitingItem, ...] = ()
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.unreadable or self.versions)

    @property
    def dead_letters(self) -> int | None:
        """Records that could not become rows, of all streams; None if that cannot be read."""
        if self.letters is None:
            return None
        return sum(rows for reasons in self.letters.values() for rows in reasons.values())

    @property
    def watermark(self) -> dt.datetime | None:
        """Up to when every stream that says so is complete."""
        streams = {stream.table for stream in self.streams}
        found = [each.watermark for each in self.tables if each.name in streams and each.watermark]
        return min(found, default=None)

    def table(self, name: str) -> TableFacts | None:
        """Find a table by name."""
        return next((table for table in self.tables if table.name == name), None)
