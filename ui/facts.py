"""The facts that pages show, as plain records without handles or connections, safe to cache."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from headrace.datasets.profile import ColumnProfile
from headrace.maintenance.health.health import HealthPart, is_fit
from headrace.registry.checks import FailedCheck
from headrace.samples.column_sources import ColumnSource
from headrace.standing.facts import (
    JobStanding,
    PaimonImport,
    PaimonSummary,
    Standing,
    StreamStanding,
    Unreadable,
    unfit,
)
from headrace.standing.flow import ONLINE_STORE, Edge, between, followed

DEAD_LETTERS = "dead_letters.records"

NodeKind = Literal[
    "raw",
    "samples",
    "staging",
    "features",
    "dataset",
    "dead letters",
    "online",
    "source",
    "table",
    "model",
    "job",
]


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """One planned maintenance action; `place` counts from 1 over the queue of the whole lake.

    `by` says who rewrites the files: headrace, or the server of an engine.
    """

    place: int
    table: str
    partition: str
    action: str
    reason: str
    gain: str
    cost_bytes: int
    by: str


@dataclass(frozen=True, kw_only=True)
class WaitingItem:
    """One maintenance action that is not due yet; it is considered again at `until` or earlier."""

    table: str
    partition: str
    action: str
    reason: str
    cost_bytes: int
    until: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """One table at its current snapshot; `sources` are those of its columns, as far as recorded."""

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
    sources: tuple[ColumnSource, ...] = ()

    @property
    def is_fit(self) -> bool:
        """Whether its health needs no attention."""
        return is_fit(self.score)

    @property
    def worst(self) -> HealthPart | None:
        """The part with the highest penalty; None if no part has one."""
        return self.parts[0] if self.parts and self.parts[0].penalty else None


@dataclass(frozen=True, kw_only=True)
class LetterFacts:
    """The dead letters of a stream with one error code and field; the rest is of the newest one."""

    code: str
    field: str | None
    count: int
    first_seen: dt.datetime
    last_seen: dt.datetime
    reason: str
    first_bytes: str
    example: str


@dataclass(frozen=True, kw_only=True)
class MinuteFacts:
    """What a stream committed in one minute.

    `lag_s` is how old the newest event of the slowest partition was at a commit, at most; None
    without an event. `late_rows` were older than the watermark.
    """

    minute: dt.datetime
    rows: int
    commits: int
    dead_letters: int = 0
    late_rows: int = 0
    lag_s: float | None = None

    @property
    def refused_share(self) -> float:
        """Dead letters for each record of the minute."""
        return self.dead_letters / max(1, self.rows + self.dead_letters)


@dataclass(frozen=True, kw_only=True)
class IngestFacts:
    """How the ingestion of one stream goes.

    `owner` is who writes it, headrace or a job of Flink, and `epoch` how often that changed.
    `service` says what the service that follows it does, or did last; None if none ever did. `lag`
    counts offsets behind the end of all partitions, `behind_s` for how long; both are None without a
    service. `refused_share` is that of the newest records. `history` holds the minutes with commits
    within an hour before the newest one. `former` says how another service ended, within a day.
    `unreadable` says why its table cannot be read; what it would tell is None or empty then.
    """

    name: str
    table: str
    service: str | None
    lag: int | None
    behind_s: float | None
    slowed_by: str
    error: str
    former: str
    owner: str = "—"
    epoch: int = 0
    rows: int | None = None
    dead_letters: int | None = None
    watermark: dt.datetime | None = None
    committed_at: dt.datetime | None = None
    late_rows: int | None = None
    refused_share: float | None = None
    history: tuple[MinuteFacts, ...] = ()
    letters: tuple[LetterFacts, ...] = ()
    unreadable: Unreadable | None = None


@dataclass(frozen=True, kw_only=True)
class OnlineView:
    """One feature view in the online store, and its table; `behind` and `since` as of an `Edge`."""

    view: str
    table: str
    rows: int
    newest_event_time: dt.datetime | None
    snapshot_id: int
    published_at: dt.datetime
    behind: int | None
    since: dt.datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LabelRows:
    """Number of samples of one label, state and sign of the value."""

    label: str
    state: str
    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class DayFacts:
    """One day of a dataset version; `inputs` are the snapshots it was computed from.

    `watermarks` say how far the label tables were complete.
    """

    day: dt.date
    rows: int
    content_hash: str
    inputs: Mapping[str, int]
    watermarks: Mapping[str, dt.datetime | None] = field(
        default_factory=dict[str, dt.datetime | None]
    )


@dataclass(frozen=True, kw_only=True)
class PinFacts:
    """A tag that keeps one snapshot from expiring, for a dataset version."""

    table: str
    snapshot_id: int
    tag: str


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """One published dataset version, from its lockfile.

    `columns` maps names to types. `definition` is the recipe of the samples, flattened: a path such
    as `features.item_ctr.ttl_us` and what it says. `profiles` say what features and exposure
    columns look like; none if it was published by an earlier release.
    """

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
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    sources: tuple[ColumnSource, ...] = ()
    definition: Mapping[str, str] = field(default_factory=dict[str, str])
    verified_at: dt.datetime | None = None
    profiles: Mapping[str, ColumnProfile] = field(default_factory=dict[str, ColumnProfile])

    @property
    def title(self) -> str:
        """Its display name: `ctr v1`."""
        return f"{self.name} v{self.version}"

    @property
    def positive_rate(self) -> float | None:
        """Positive labels for each sample; None without samples."""
        return self.positives / self.rows if self.rows else None


@dataclass(frozen=True, kw_only=True)
class SnapshotFacts:
    """One commit of a table; `alive` is False once its snapshot expired."""

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
    """The current files of one partition, as sizes in bytes."""

    partition: str
    rows: int
    file_bytes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column of a table's schema."""

    name: str
    type: str
    required: bool
    doc: str
    null_share: float | None


@dataclass(frozen=True, kw_only=True)
class RefFacts:
    """A branch, tag or lease of a table; `ends_at` is when it ends by itself."""

    name: str
    kind: str
    snapshot_id: int
    ends_at: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class SizeFacts:
    """What a table held after one commit."""

    at: dt.datetime
    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class WriteFacts:
    """A writer whose files no commit names yet."""

    host: str
    pid: int
    started_at: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class PreviewFacts:
    """The first rows of a table, as a browser shows them exactly; `error` says why there are none."""

    rows: tuple[Mapping[str, object], ...] = ()
    error: Unreadable | None = None


@dataclass(frozen=True, kw_only=True)
class TableDetail:
    """Details that only the page of one table shows; `sizes` are oldest first."""

    partition_by: tuple[str, ...]
    target_bytes: int
    snapshots: tuple[SnapshotFacts, ...]
    partitions: tuple[PartitionFacts, ...]
    columns: tuple[ColumnFacts, ...]
    refs: tuple[RefFacts, ...]
    sizes: tuple[SizeFacts, ...]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A trained model; `version` is the dataset version of the same content, if one is published."""

    dataset: str
    version: int | None
    folder: str
    trained_at: dt.datetime

    @property
    def title(self) -> str:
        """Its display name: `ctr v1`."""
        return self.folder if self.version is None else f"{self.dataset} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What the frame of every page says: which lake this is, and what shows it."""

    lake: str
    profile: str
    version: str


@dataclass(frozen=True, kw_only=True)
class LakeFacts:
    """The whole lake at one moment; falsy if nothing was ever written.

    `awaited` names servers and warehouses that have not answered yet: what they say is missing.
    `unread` names tables that were not read in the time that the page had; all that needs every
    table, such as the queue, is empty until they are. `rows_today` counts the rows that tables
    gained since midnight UTC, where that is not zero. `sample_sets` maps tables to sample sets.

    `trino_catalog` is the catalog in which Trino reads the lake, empty without one.

    `letters` counts dead letters by stream and error code, including streams that are no longer
    declared; None if they cannot be read. `letters_of_others` counts those of the latter only.
    `unreadable` lists tables, `broken_streams` streams that cannot be read though their tables can,
    and servers that do not answer; `unreadable_rows` lists tables of which only rows cannot be read,
    as a page of theirs has found;
    `no_online` is set if the online store exists but cannot be read.
    """

    tables: tuple[TableFacts, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    broken_streams: tuple[Unreadable, ...] = ()
    unreadable_rows: tuple[Unreadable, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    letters: Mapping[str, Mapping[str, int]] | None = field(default_factory=dict)
    letters_of_others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    streams: tuple[StreamStanding, ...] = ()
    jobs: tuple[JobStanding, ...] = ()
    paimon: tuple[PaimonSummary, ...] = ()
    imports: tuple[PaimonImport, ...] = ()
    edges: tuple[Edge, ...] = ()
    versions: tuple[VersionFacts, ...] = ()
    online: tuple[OnlineView, ...] = ()
    no_online: Unreadable | None = None
    queue: tuple[QueueItem, ...] = ()
    waiting: tuple[WaitingItem, ...] = ()
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    rows_today: Mapping[str, int] = field(default_factory=dict)
    models: tuple[ModelFacts, ...] = ()
    sample_sets: Mapping[str, str] = field(default_factory=dict)
    trino_catalog: str = ""
    read_at: dt.datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.tables or self.unreadable or self.versions)

    @property
    def flow(self) -> tuple[Edge, ...]:
        """The recorded edges between what still exists, those to the online store included."""
        known = {table.name for table in (*self.tables, *self.unreadable)}
        online = (
            Edge(
                source=view.table,
                target=ONLINE_STORE,
                snapshot=view.snapshot_id,
                commits=view.behind,
                since=view.since,
            )
            for view in self.online
        )
        jobs = {job.table for job in self.jobs}
        return between((*followed(self.edges, jobs), *online), known)

    @property
    def standing(self) -> Standing:
        """That by which the library judges the lake."""
        stores = () if self.no_online is None else (self.no_online,)
        return Standing(
            problems=self.problems,
            unreadable=(
                *self.unreadable,
                *self.unreadable_rows,
                *stores,
                *self.broken_streams,
            ),
            streams=self.streams,
            jobs=self.jobs,
            paimon=self.paimon,
            imports=self.imports,
            letters=self.letters_of_others,
            failed_checks=self.failed_checks,
            edges=self.flow,
            sample_sets=self.sample_sets,
            unfit=unfit((each.name, each.score, each.worst) for each in self.tables),
        )

    @property
    def dead_letters(self) -> int | None:
        """Number of dead letters of all streams; None if they cannot be read."""
        if self.letters is None:
            return None
        return sum(rows for reasons in self.letters.values() for rows in reasons.values())

    @property
    def watermark(self) -> dt.datetime | None:
        """The oldest watermark of all streams that have one."""
        streams = {stream.table for stream in self.streams}
        found = [each.watermark for each in self.tables if each.name in streams and each.watermark]
        return min(found, default=None)

    def table(self, name: str) -> TableFacts | None:
        """Find a table by name; None if there is no such table."""
        return next((table for table in self.tables if table.name == name), None)
