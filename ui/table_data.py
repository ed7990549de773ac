"""Read one table in detail, for the page of that name; cached by its metadata file."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping

import streamlit as st

from headrace.config import Settings
from headrace.iceberg.partitions import PartitionKey
from headrace.registry import CommitRecord
from headrace.tables.history.commit_log import record_of
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.refs.refs import tags
from headrace.tables.version import TableVersion
from ui.facts import ColumnFacts, PartitionFacts, SnapshotFacts, TableDetail, TableFacts

__all__ = ["partition_text", "table_detail"]

SNAPSHOTS_MAX = 200


def table_detail(facts: TableFacts) -> TableDetail:
    """Read the snapshots, files and schema of one table.

    Raises:
        TableNotFoundError: If the table no longer exists.

    """
    settings = Settings.load()
    return _table_detail(settings, name=facts.name, metadata_location=facts.metadata_location)


@st.cache_data(max_entries=64, show_spinner=False)
def _table_detail(_settings: Settings, *, name: str, metadata_location: str) -> TableDetail:
    _ = metadata_location  # the cache's key
    with OpenLake.existing(_settings) as lake:
        table = lake.table(name)
        head, tagged = table.head(), tags(table)
        return TableDetail(
            partition_by=head.partition_by,
            target_bytes=table.target_file_bytes(),
            snapshots=_snapshots(table, tagged=tagged),
            partitions=_partitions(head),
            columns=tuple(
                ColumnFacts(name=field.name, type=str(field.type), required=not field.nullable)
                for field in head.schema
            ),
            tags=tagged,
        )


def _snapshots(table: LakeTable, *, tagged: Mapping[str, int]) -> tuple[SnapshotFacts, ...]:
    """List the latest commits: those in the registry, and those that only the table records."""
    loaded = table.iceberg()
    alive = {snapshot.snapshot_id: snapshot for snapshot in loaded.metadata.snapshots}
    found = {
        record.snapshot_id: record
        for record in table.lake.registry.commits(str(table.name), limit=SNAPSHOTS_MAX)
    }
    for snapshot_id, snapshot in alive.items():
        if snapshot_id not in found and len(found) < SNAPSHOTS_MAX:
            found[snapshot_id] = record_of(table.name, snapshot, loaded.metadata, loaded.io)
    newest_first = sorted(found.values(), key=lambda record: -record.sequence_number)
    return tuple(_snapshot(record, alive=alive.keys(), tagged=tagged) for record in newest_first)


def _snapshot(
    record: CommitRecord, *, alive: Collection[int], tagged: Mapping[str, int]
) -> SnapshotFacts:
    return SnapshotFacts(
        snapshot_id=record.snapshot_id,
        committed_at=dt.datetime.fromtimestamp(record.committed_at_ms / 1000, dt.UTC),
        operation=record.operation,
        rows_added=record.rows_added,
        rows_removed=record.rows_removed,
        files_added=record.files_added,
        files_removed=record.files_removed,
        inputs=dict(record.inputs),
        run_id=record.run_id,
        alive=record.snapshot_id in alive,
        tags=tuple(
            name for name, snapshot_id in tagged.items() if snapshot_id == record.snapshot_id
        ),
    )


def _partitions(head: TableVersion) -> tuple[PartitionFacts, ...]:
    sizes: dict[str, list[int]] = {}
    rows: Counter[str] = Counter()
    for file in head.files():
        name = partition_text(file.partition)
        sizes.setdefault(name, []).append(file.bytes)
        rows[name] += file.rows
    return tuple(
        PartitionFacts(partition=name, rows=rows[name], file_bytes=tuple(sizes[name]))
        for name in sizes
    )


def partition_text(key: PartitionKey | None) -> str:
    """Write the key of a partition for people; empty for None."""
    if key is None:
        return ""
    return ", ".join(str(value) for value in key) or "whole table"
