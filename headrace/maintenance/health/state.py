"""The state of a table that maintenance decisions are made from."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.definitions.properties import LATENESS_S
from headrace.errors import UnsupportedTableError
from headrace.iceberg import retention
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.standard_properties import Retention
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.orphans import ORPHAN_BYTES, ORPHAN_FILES, look_is_due
from headrace.maintenance.health.layout import Layout, layout_at
from headrace.maintenance.health.limits import Limits, plan_limits
from headrace.registry import Measure
from headrace.tables.history.commit_log import record_head
from headrace.tables.lake import LakeTable
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import TableVersion

COLD_AFTER_S = 3_600.0  # a partition without a write for this long counts as finished
_COMMITS_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class TableState:
    """Summary of one table at its newest snapshot.

    `written_ms` maps partition keys (as text) to their last write, for writes within
    `cold_after_s` before `read_at_ms`. `times_ms` maps sequence numbers to commit times, as far as
    they are recorded. `unverifiable_files` counts files without checksums among those that were
    read for an engine. `orphan_bytes` and `orphan_files` are None until orphan files were looked
    for; `look_due` means that it is time to look. `shared` means that the table has
    `gc.enabled=false`: none of its snapshots expires and none of its files is removed. From
    `server_bytes_min` to rewrite in a partition, the server of the lake's engine compacts it; None
    if the engine has no server.
    """

    table: TableName
    snapshot_id: int | None
    committed_at_ms: int | None
    read_at_ms: int
    layout: Layout
    snapshots: int
    snapshots_kept: int
    expirable: int
    expirable_since_ms: int
    metadata_bytes: int
    limits: Limits
    cold_after_s: float
    written_ms: Mapping[str, int]
    times_ms: Mapping[int, int]
    unverifiable_files: int = 0
    orphan_bytes: Measure | None = None
    orphan_files: Measure | None = None
    look_due: bool = False
    shared: bool = False
    server_bytes_min: int | None = None


def table_state(
    table: LakeTable,
    *,
    target_bytes: int | None = None,
    cold_after_s: float | None = None,
    now_ms: int | None = None,
) -> TableState:
    """Read a table's state from its metadata, the registry, and footers as `find_flaws` does.

    Args:
        table: The table.
        target_bytes: Target size of a data file; by default the table's, else the lake's.
        cold_after_s: Seconds without a write after which a partition counts as finished; by
            default an hour, or longer if the table's stream declares more lateness.
        now_ms: Reference time in epoch milliseconds; by default now.

    """
    loaded = table.iceberg()
    metadata = loaded.metadata
    head = metadata.current_snapshot()
    version = TableVersion.of(
        table.name,
        metadata,
        loaded.metadata_location,
        loaded.io,
        None if head is None else head.snapshot_id,
        inspected=table.lake.inspected,
    )
    settings = table.lake.settings
    layout = layout_at(loaded, version, target_bytes=target_bytes or table.target_file_bytes())
    now = table.lake.now_ms() if now_ms is None else now_ms
    cold = cold_after_s if cold_after_s is not None else _cold_after_s(metadata.properties)
    dying = _expirable(table, metadata, now_ms=now)
    measures = table.lake.registry.measures(str(table.name))
    shared = not standard.collects_garbage(metadata.properties)
    return TableState(
        table=table.name,
        snapshot_id=version.snapshot_id,
        committed_at_ms=version.committed_at_ms,
        read_at_ms=now,
        layout=layout,
        snapshots=len(metadata.snapshots),
        snapshots_kept=_kept(metadata, keep=settings.snapshots_kept),
        expirable=len(dying),
        expirable_since_ms=min((each.timestamp_ms for each in dying), default=0),
        metadata_bytes=len(loaded.io.new_input(loaded.metadata_location)),
        limits=plan_limits(metadata, foreign=table.lake.foreign),
        cold_after_s=cold,
        written_ms=_written_ms(table, loaded, since_ms=now - round(cold * 1000)),
        times_ms=_times_ms(table, layout),
        unverifiable_files=VerifiedFiles.of(settings).unverifiable(version),
        orphan_bytes=measures.get(ORPHAN_BYTES),
        orphan_files=measures.get(ORPHAN_FILES),
        shared=shared,
        server_bytes_min=_server_bytes_min(table),
        look_due=not shared
        and look_is_due(table, location=metadata.location, measures=measures, now_ms=now),
    )


def _server_bytes_min(table: LakeTable) -> int | None:
    """Tables of another program's catalog may not be those that the server knows by their names."""
    return None if table.lake.foreign else table.lake.settings.trino_compaction_bytes


def _cold_after_s(properties: Mapping[str, str]) -> float:
    try:
        return max(COLD_AFTER_S, float(properties.get(LATENESS_S, 0)))
    except ValueError:  # written by hand
        return COLD_AFTER_S


def _expirable(table: LakeTable, metadata: TableMetadata, *, now_ms: int) -> list[Snapshot]:
    """List the snapshots that would expire, if they exceed the slack that commits leave."""
    keep = table.lake.settings.snapshots_kept
    try:
        dead = set(
            retention.expired_before(
                metadata,
                keep=keep,
                before_ms=now_ms,
                now_ms=now_ms,
                defaults=table.lake.default_retention,
            )
        )
    except UnsupportedTableError:  # the retention is unreadable; `operations.expire` reports it
        return []
    found = [each for each in metadata.snapshots if each.snapshot_id in dead]
    return found if len(found) > max(1, keep // 5) else []


def _kept(metadata: TableMetadata, *, keep: int) -> int:
    """Return how many snapshots are kept: the greater of the lake's and the table's number."""
    try:
        said = standard.retention(
            metadata.properties, table=metadata.location, defaults=Retention()
        )
    except UnsupportedTableError:
        return keep
    return max(keep, said.snapshots_min or 0)


def _written_ms(table: LakeTable, loaded: Table, *, since_ms: int) -> dict[str, int]:
    registry = table.lake.registry
    record_head(registry, table.name, loaded.metadata, loaded.io)
    found: dict[str, int] = {}
    for record in registry.commits_since(str(table.name), since_ms, limit=_COMMITS_MAX):
        if record.operation != "replace":
            for text in record.partitions:
                found.setdefault(text, record.committed_at_ms)
    return found


def _times_ms(table: LakeTable, layout: Layout) -> dict[int, int]:
    """Look up the commit times of the files and manifests that maintenance would rewrite."""
    bins = [each for part in layout.partitions for each in (*part.major, *part.minor)]
    sequences = {layout.manifests.sequence, *(each.sequence for each in bins)}
    return table.lake.registry.commit_times(str(table.name), sequences)
