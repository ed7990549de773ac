"""Score the health of a table from metadata alone, worst problem first."""

import datetime as dt
from dataclasses import dataclass

from headrace.identifiers import TableName
from headrace.maintenance.compaction.minor_major import SORTED_RUNS_MAX
from headrace.maintenance.health.costs import ENTRY_S, METADATA_BYTE_S, OPEN_FILE_S, SNAPSHOT_S
from headrace.maintenance.health.state import TableState, table_state
from headrace.maintenance.health.wording import counted, size_text, time_text
from headrace.tables.lake import LakeTable

FIT_SCORE_MIN = 80  # below it, readers or commits are noticeably slower than they need to be

# maximum penalty of each part; they sum to more than 100, as one problem can make a table useless
_FILES_WEIGHT = 60
_DELETES_WEIGHT = 40
_SNAPSHOTS_WEIGHT = 20
_MANIFESTS_WEIGHT = 20
_ORPHANS_WEIGHT = 20
_METADATA_WEIGHT = 20
_CLUSTERING_WEIGHT = 20
_FLAWS_WEIGHT = 60  # rows missing from some readers are the worst problem
# the full penalty for manifests: planning one partition could be this much faster
_PLAN_S_BAD = 1.0
# parsing this much takes 35 ms, at every commit and every first read
_METADATA_BYTES_FINE = 512 * 1024
_SNAPSHOT_BYTES = 650  # of metadata for each snapshot (measured on appends with provenance)


@dataclass(frozen=True, kw_only=True)
class HealthPart:
    """One health check: what was found, its penalty in points, and what fixing it gains.

    `gain_s` estimates the seconds saved per scan (deletes, files), per plan of one partition
    (manifests) or per commit (snapshots, metadata); `gain_bytes` is disk space freed; `cost_bytes`
    is what the fix has to rewrite.
    """

    name: str
    finding: str
    penalty: int = 0
    gain: str = ""
    gain_s: float = 0.0
    gain_bytes: int = 0
    cost_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class TableHealth:
    """A score from 0 (worst) to 100 with its parts, worst first."""

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
    def is_fit(self) -> bool:
        """Whether the table needs no attention."""
        return is_fit(self.score)

    @property
    def worst(self) -> HealthPart | None:
        """The part with the highest penalty; None if no part has one."""
        return self.parts[0] if self.parts and self.parts[0].penalty else None


def is_fit(score: int) -> bool:
    """Judge a health score."""
    return score >= FIT_SCORE_MIN


def health(table: LakeTable, *, target_bytes: int | None = None) -> TableHealth:
    """Score a table. Reads metadata, and footers as `find_flaws` does; cost is independent of age."""
    return health_of(table_state(table, target_bytes=target_bytes))


def health_of(state: TableState) -> TableHealth:
    """Score a table from its state. Pure."""
    parts = (
        _files(state),
        _deletes(state),
        _snapshots(state),
        _manifests(state),
        _orphans(state),
        _metadata(state),
        _clustering(state),
        _flaws(state),
        *_checksums(state),
    )
    layout = state.layout
    return TableHealth(
        table=state.table,
        snapshot_id=state.snapshot_id,
        score=max(0, 100 - sum(part.penalty for part in parts)),
        parts=tuple(sorted(parts, key=lambda part: -part.penalty)),
        rows=layout.rows,
        files=layout.files,
        bytes=layout.bytes,
        small_files=layout.small_files,
        snapshots=state.snapshots,
        manifests=layout.manifests.manifests,
        committed_at_ms=state.committed_at_ms,
    )


def _files(state: TableState) -> HealthPart:
    layout = state.layout
    gone = layout.removable
    gain_s = gone * (OPEN_FILE_S + ENTRY_S)
    return HealthPart(
        name="small files",
        finding=f"{layout.small_files:,} of {layout.files:,} files are small",
        penalty=round(_FILES_WEIGHT * gone / layout.files) if layout.files else 0,
        gain=f"{gone:,} fewer files, scans save about {time_text(gain_s)}" if gone else "",
        gain_s=gain_s,
        cost_bytes=sum(each.bytes for part in layout.partitions for each in part.major),
    )


def _deletes(state: TableState) -> HealthPart:
    found = state.layout.deletes
    if not found.delete_files:
        return HealthPart(name="deletes", finding="no rows are deleted in other files")
    share = found.data_bytes / state.layout.bytes if state.layout.bytes else 1.0
    gain_s = found.opened * (OPEN_FILE_S + ENTRY_S)
    speed = f"scans save about {time_text(gain_s)}"
    return HealthPart(
        name="deletes",
        finding=f"{counted(found.delete_files, 'delete file')} "
        f"{'takes' if found.delete_files == 1 else 'take'} rows from {found.data_files:,} of "
        f"{counted(state.layout.files, 'file')}" + (", some by value" if found.by_value else ""),
        penalty=_DELETES_WEIGHT if found.by_value else max(1, round(_DELETES_WEIGHT * share)),
        gain=f"every reader can read it again, {speed}" if found.by_value else speed,
        gain_s=gain_s,
        cost_bytes=found.data_bytes,
    )


def _flaws(state: TableState) -> HealthPart:
    found = state.layout.flaws
    if not found:
        return HealthPart(name="flawed files", finding="no file is known to be misread")
    listed = ", ".join(f"{counted(n, 'file')} with {flaw.value}" for flaw, n in found.items())
    return HealthPart(
        name="flawed files",
        finding=listed,
        penalty=_FLAWS_WEIGHT,
        gain="every reader finds every row, with correct values",
        cost_bytes=state.layout.flawed_bytes,
    )


def _checksums(state: TableState) -> tuple[HealthPart, ...]:
    # no penalty: it makes nothing slow or wrong, and compaction adds the checksums anyway
    bare = state.unverifiable_files
    finding = (
        f"{bare:,} of {counted(state.layout.files, 'file')} cannot be checked for damage: another "
        "program wrote them without checksums"
    )
    return (HealthPart(name="checksums", finding=finding),) if bare else ()


def _snapshots(state: TableState) -> HealthPart:
    allowed = round(1.2 * state.snapshots_kept) + 1
    excess = max(0, state.snapshots - allowed)
    going = state.expirable if excess else 0
    gain_s = going * SNAPSHOT_S
    named = "" if going or not excess else "; tags and branches keep them, or its properties"
    return HealthPart(
        name="snapshots",
        finding=f"{counted(state.snapshots, 'snapshot')}{named}",
        penalty=min(_SNAPSHOTS_WEIGHT, round(_SNAPSHOTS_WEIGHT * excess / allowed)),
        gain=f"{going:,} fewer snapshots, commits save about {time_text(gain_s)}" if going else "",
        gain_s=gain_s,
        cost_bytes=state.metadata_bytes if going else 0,
    )


def _manifests(state: TableState) -> HealthPart:
    found = state.layout.manifests
    listed = counted(found.manifests, "manifest")
    if not found.opened:
        return HealthPart(name="manifests", finding=listed)
    pays = found.pays
    return HealthPart(
        name="manifests",
        finding=f"{listed}; a plan of one partition opens {found.opened:.3g}, "
        f"{max(found.opened_ideal, 1):.3g} would do",
        penalty=min(
            _MANIFESTS_WEIGHT, max(1, round(_MANIFESTS_WEIGHT * found.saved_s / _PLAN_S_BAD))
        )
        if pays
        else 0,
        gain=f"plans of one partition save about {time_text(found.saved_s)}" if pays else "",
        gain_s=found.saved_s if pays else 0.0,
        cost_bytes=found.bytes if pays else 0,
    )


def _clustering(state: TableState) -> HealthPart:
    layout = state.layout
    if not layout.sorted_by:
        return HealthPart(name="clustering", finding="no order of rows is declared")
    # a few sorted runs, as late rows produce, are not worth sorting the whole partition again
    bad = layout.depth > SORTED_RUNS_MAX
    gain_s = (layout.depth - 1) * OPEN_FILE_S
    return HealthPart(
        name="clustering",
        finding=f"a look-up by `{layout.sorted_by}` opens {layout.depth:.3g} of "
        f"{layout.files_beside:.3g} files of its partition",
        penalty=max(1, round(_CLUSTERING_WEIGHT * (1 - SORTED_RUNS_MAX / layout.depth)))
        if bad
        else 0,
        gain=f"look-ups save about {time_text(gain_s)}" if bad else "",
        gain_s=gain_s if bad else 0.0,
        cost_bytes=sum(each.bytes for part in layout.partitions for each in part.major)
        if bad
        else 0,
    )


def _orphans(state: TableState) -> HealthPart:
    held = state.orphan_bytes
    if state.shared:
        finding = "not searched: with `gc.enabled=false`, other tables may share the files"
        return HealthPart(name="orphan bytes", finding=finding)
    if held is None:
        return HealthPart(name="orphan bytes", finding="not searched yet")
    files = f"{counted(state.orphan_files.value, 'file')}, " if state.orphan_files else ""
    at = dt.datetime.fromtimestamp(held.measured_at_ms / 1000, dt.UTC)
    share = held.value / max(1, held.value + state.layout.bytes)
    return HealthPart(
        name="orphan bytes",
        finding=f"{files}{size_text(held.value)} of orphan files, as of {at:%Y-%m-%d %H:%M} UTC",
        penalty=round(_ORPHANS_WEIGHT * share),
        gain=f"{size_text(held.value)} of disk space" if held.value else "",
        gain_bytes=held.value,
    )


def _metadata(state: TableState) -> HealthPart:
    held, listed, limits = state.metadata_bytes, state.layout.manifests.bytes, state.limits
    excess = max(0, held - _METADATA_BYTES_FINE)
    gain_s = (limits.schema_bytes + state.expirable * _SNAPSHOT_BYTES) * METADATA_BYTE_S
    gains = [f"commits save about {time_text(gain_s)}"] if gain_s and excess else []
    if limits.properties:
        gains.append("metadata that stays small")
    return HealthPart(
        name="metadata bytes",
        finding=f"metadata of {size_text(held)}, manifests of {size_text(listed)}"
        + ("; no property limits their growth" if limits.properties else ""),
        penalty=min(
            _METADATA_WEIGHT,
            round(_METADATA_WEIGHT * excess / (8 * _METADATA_BYTES_FINE))
            + 2 * bool(limits.properties),
        ),
        gain=", ".join(gains),
        gain_s=gain_s if gains else 0.0,
        gain_bytes=limits.schema_bytes,
        cost_bytes=held if gains else 0,
    )
