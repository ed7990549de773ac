"""What each snapshot did, from its summary, and the registry's copy that outlives it."""

import json
from collections.abc import Collection, Mapping

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from headrace.identifiers import TableName
from headrace.registry import CommitRecord, Registry
from headrace.tables import partitions

INPUTS = "headrace.inputs"
CODE = "headrace.code"
RUN_ID = "headrace.run_id"
PARTITIONS = "headrace.partitions"


def record_of(
    table: TableName, snapshot: Snapshot, metadata: TableMetadata, io: FileIO
) -> CommitRecord:
    """Read one commit's facts from its snapshot."""
    summary = snapshot.summary
    facts: Mapping[str, str] = summary.additional_properties if summary else {}
    return CommitRecord(
        table=str(table),
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        sequence_number=snapshot.sequence_number or 0,
        committed_at_ms=snapshot.timestamp_ms,
        operation=summary.operation.value if summary else "append",
        partitions=_touched(snapshot, metadata, io),
        inputs=json.loads(facts.get(INPUTS, "{}")),
        code=facts.get(CODE, ""),
        run_id=facts.get(RUN_ID, ""),
        files_added=int(facts.get("added-data-files", 0)),
        files_removed=int(facts.get("deleted-data-files", 0)),
        rows_added=int(facts.get("added-records", 0)),
        rows_removed=int(facts.get("deleted-records", 0)),
    )


def _touched(snapshot: Snapshot, metadata: TableMetadata, io: FileIO) -> tuple[str, ...]:
    facts = snapshot.summary.additional_properties if snapshot.summary else {}
    if PARTITIONS in facts:
        return tuple(json.loads(facts[PARTITIONS]))
    # many partitions, or another engine's commit: the manifests it wrote say what it touched
    terms = partitions.all_terms(metadata)
    found = {
        partitions.key_to_text(
            partitions.key_of_record(entry.data_file.partition, terms[manifest.partition_spec_id])
        )
        for manifest in snapshot.manifests(io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=False)
        if entry.snapshot_id == snapshot.snapshot_id
    }
    return tuple(sorted(found))


def record_head(
    registry: Registry,
    table: TableName,
    metadata: TableMetadata,
    io: FileIO,
    *,
    branch: str = MAIN_BRANCH,
) -> None:
    """Bring the registry up to the head of a branch, walking back to what it already knows.

    Usually that is one commit. After a crash between a swap and its record, or after another
    engine's commits, it is the gap.
    """
    snapshot = metadata.snapshot_by_name(branch)
    missing: list[Snapshot] = []
    while snapshot is not None and not registry.knows_commit(str(table), snapshot.snapshot_id):
        missing.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else metadata.snapshot_by_id(parent)
    for snapshot in reversed(missing):
        registry.record_commit(record_of(table, snapshot, metadata, io))


def record_dying(
    registry: Registry, table: TableName, loaded: Table, snapshot_ids: Collection[int]
) -> None:
    """Record snapshots that are about to expire, and their children, who lose their parent then."""
    dying = frozenset(snapshot_ids)
    for snapshot in loaded.metadata.snapshots:
        concerned = snapshot.snapshot_id in dying or snapshot.parent_snapshot_id in dying
        if concerned and not registry.knows_commit(str(table), snapshot.snapshot_id):
            registry.record_commit(record_of(table, snapshot, loaded.metadata, loaded.io))
