"""When a stream that is followed commits, and how it slows down when its table falls behind with maintenance."""

from dataclasses import dataclass, replace

from pyiceberg.table.metadata import TableMetadata

MIB = 1024 * 1024
STRETCH_MAX = 8
SMALL_FILES_MAX = 2_000  # planning a scan of so many takes seconds
SNAPSHOTS_OVER = 4  # times as many as are kept: commits slow down with each


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """Commit after so many seconds, rows or bytes of records, whichever comes first.

    A batch exceeds `rows` and `bytes` by what one poll returns.
    """

    seconds: float = 10.0
    rows: int = 1_000_000
    bytes: int = 256 * MIB

    def is_due(self, *, seconds: float, records: int, bytes_: int) -> bool:
        """Whether to commit what was read since `seconds`."""
        return seconds >= self.seconds or records >= self.rows or bytes_ >= self.bytes

    def stretched(self, by: int) -> "Cadence":
        """Return one that commits so many times as rarely; bytes bound memory and stay."""
        return replace(self, seconds=self.seconds * by, rows=self.rows * by)


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """How far a table is behind with maintenance.

    `stretch` is how many times as rarely to commit, and `reason` says why; 1 and empty if it is not.
    """

    stretch: int = 1
    reason: str = ""

    @classmethod
    def of(cls, metadata: TableMetadata, *, target_bytes: int, snapshots_kept: int) -> "Pressure":
        """Judge a table by its metadata alone."""
        head = metadata.current_snapshot()
        if head is None or head.summary is None:
            return cls()
        said = head.summary.additional_properties
        files, size = int(said.get("total-data-files", 0)), int(said.get("total-files-size", 0))
        small = max(0, files - size // max(1, target_bytes))
        snapshots, snapshots_max = len(metadata.snapshots), SNAPSHOTS_OVER * snapshots_kept
        by_files, by_snapshots = small / SMALL_FILES_MAX, snapshots / snapshots_max
        worst = max(by_files, by_snapshots)
        if worst < 1:
            return cls()
        reason = (
            f"about {small:,} small files"
            if by_files >= by_snapshots
            else f"{snapshots:,} snapshots"
        )
        # twice as much gives twice the time: the table then grows no faster than at the limit
        return cls(stretch=min(STRETCH_MAX, 2 ** int(worst)), reason=reason)
