"""How healthy a table is and what would help most, from metadata alone."""

from dataclasses import dataclass

from headrace.identifiers import TableName
from headrace.maintenance.plan import is_small, plan_compaction
from headrace.tables.lake import LakeTable

_FILES_WEIGHT = 60  # points a table loses when compaction would remove nearly all its files
_SNAPSHOTS_WEIGHT = 20
_MANIFESTS_WEIGHT = 20
_MANIFESTS_MAX = 64
_OPEN_FILE_MS = 0.4  # opening one more local Parquet file costs a scan about this much


@dataclass(frozen=True, kw_only=True)
class HealthPart:
    """One thing that can be wrong: what was found, the points it costs, and what fixing gains."""

    name: str
    finding: str
    penalty: int
    gain: str


@dataclass(frozen=True, kw_only=True)
class TableHealth:
    """A score from 0 to 100 with its parts, worst first."""

    table: TableName
    snapshot_id: int | None
    score: int
    parts: tuple[HealthPart, ...]
    rows: int
    files: int
    bytes: int
    small_files: int
    snapshots: int
    manifests: int
    committed_at_ms: int | None

    @property
    def worst(self) -> HealthPart | None:
        """The part that costs most, if any costs anything."""
        return self.parts[0] if self.parts and self.parts[0].penalty else None


def health(table: LakeTable, *, target_bytes: int | None = None) -> TableHealth:
    """Score a table. Reads metadata only; nothing grows with the table's age."""
    settings = table.lake.settings
    wanted = target_bytes or settings.target_file_bytes
    version = table.head()
    files = version.files()
    small = sum(is_small(file, target_bytes=wanted) for file in files)
    plan = plan_compaction(version, target_bytes=wanted)
    snapshots = len(table.iceberg().metadata.snapshots)
    parts = (
        _files_part(len(files), small, removable=plan.files_in - plan.files_out),
        _share_part(
            "snapshots",
            snapshots,
            allowed=round(1.2 * settings.snapshots_kept) + 1,
            weight=_SNAPSHOTS_WEIGHT,
            gain="cheaper commits",
        ),
        _share_part(
            "manifests",
            version.manifest_count,
            allowed=_MANIFESTS_MAX,
            weight=_MANIFESTS_WEIGHT,
            gain="faster planning",
        ),
    )
    return TableHealth(
        table=table.name,
        snapshot_id=version.snapshot_id,
        score=100 - sum(part.penalty for part in parts),
        parts=tuple(sorted(parts, key=lambda part: -part.penalty)),
        rows=version.row_count,
        files=len(files),
        bytes=sum(file.bytes for file in files),
        small_files=small,
        snapshots=snapshots,
        manifests=version.manifest_count,
        committed_at_ms=version.committed_at_ms,
    )


def _files_part(files: int, small: int, *, removable: int) -> HealthPart:
    penalty = round(_FILES_WEIGHT * removable / files) if files else 0
    return HealthPart(
        name="small files",
        finding=f"{small} of {files} files are small",
        penalty=penalty,
        gain=f"{removable} fewer files, scans save about {removable * _OPEN_FILE_MS:.0f} ms"
        if removable
        else "",
    )


def _share_part(name: str, count: int, *, allowed: int, weight: int, gain: str) -> HealthPart:
    excess = max(0, count - allowed)
    return HealthPart(
        name=name,
        finding=f"{count} {name}",
        penalty=min(weight, round(weight * excess / allowed)),
        gain=gain if excess else "",
    )
