"""The records that the registry keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OVERWRITE = "overwrite"  # the operation of a commit that adds and removes rows


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """One commit of one table; partitions are canonical texts of their keys.

    `moves` says which table properties it changed, and is empty if that is not known; `origins`
    name the snapshots and audits whose rows it published.
    """

    table: str
    snapshot_id: int
    parent_id: int | None
    sequence_number: int
    committed_at_ms: int
    operation: str
    partitions: tuple[str, ...] = ()
    inputs: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    run_id: str = ""
    files_added: int = 0
    files_removed: int = 0
    rows_added: int = 0
    rows_removed: int = 0
    moves: str = ""
    origins: tuple[str, ...] = ()

    @property
    def replaces_rows(self) -> bool:
        """Whether it has rows in place of others: one that removes more than it adds only deletes."""
        return self.operation == OVERWRITE and 0 < self.rows_added >= self.rows_removed


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """Who holds a lease on a snapshot, and until when."""

    lease_id: str
    table: str
    snapshot_id: int
    holder: str
    ends_at_ms: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number about a table that is too expensive to compute on every read, and when it was computed."""

    value: int
    measured_at_ms: int


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One table was computed from one snapshot of another; the latest such record of each pair."""

    source: str
    source_snapshot_id: int
    target: str
    target_snapshot_id: int
    committed_at_ms: int


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one partition of a derived table was last built from."""

    table: str
    partition: str
    snapshot_id: int
    inputs: Mapping[str, int]
    code: str
    watermarks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One version number of a dataset, never used again.

    `state` is `claimed` while its tags and files are being made, then `published`, or `abandoned`
    if that failed.
    """

    name: str
    version: int
    state: str
    lockfile: str


@dataclass(frozen=True, kw_only=True)
class WriteRecord:
    """One writer whose files no commit names yet; host, boot, pid and start identify its process.

    Its times are those of the registry's clock, which records them.
    """

    write_id: str
    table: str
    location: str
    host: str
    boot_id: str
    pid: int
    process_start_ticks: int
    started_at_ms: int = 0
    renewed_at_ms: int = 0
