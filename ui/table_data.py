"""Read one table in detail, for the page of that name; cached by its metadata file."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import streamlit as st

from headrace.clock import time_at
from headrace.config import Settings
from headrace.definitions.load import inspect_declarations
from headrace.errors import LakeError
from headrace.iceberg.partitions import PartitionKey
from headrace.identifiers import TableName
from headrace.maintenance.queue.maintain import Budget, maintain
from headrace.registry import CommitRecord
from headrace.standing.facts import Unreadable
from headrace.tables.history.commit_log import record_of
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.profile import columns_of, first_rows, sizes_over_time
from headrace.tables.refs.refs import refs
from headrace.tables.version import TableVersion
from ui.facts import (
    ColumnFacts,
    PartitionFacts,
    PreviewFacts,
    RefFacts,
    SizeFacts,
    SnapshotFacts,
    TableDetail,
    TableFacts,
    WriteFacts,
)

__all__ = [
    "maintain_now",
    "partition_text",
    "table_detail",
    "table_preview",
    "unreadable_rows",
    "writes_now",
]

MAINTAIN_S_MAX = 120.0  # no action starts later: a person waits in front of the page

SNAPSHOTS_MAX, PREVIEW_ROWS = 200, 50


def table_detail(facts: TableFacts) -> TableDetail:
    """Read the snapshots, files and schema of one table.

    Raises:
        TableNotFoundError: If the table no longer exists.

    """
    settings = Settings.load()
    return _table_detail(settings, name=facts.name, metadata_location=facts.metadata_location)


def maintain_now(facts: TableFacts) -> tuple[str, ...]:
    """Apply what maintenance plans for one table now, and say what became of each action.

    Plans again first: what others did meanwhile is not done twice. No action starts after 120 s.

    Raises:
        LakeError: If the table is gone, or the lake cannot be opened.

    """
    name = TableName.parse(facts.name)
    with OpenLake.existing(Settings.load()) as lake:
        done = maintain(lake, [name], budget=Budget(seconds=MAINTAIN_S_MAX))
    failed = tuple(error.message for error in done.unreadable.values())
    said = tuple(f"{each.action.kind.value}: {each.text()}" for each in done.results)
    return (*failed, *said) or ("nothing was left to do",)


@st.cache_data(max_entries=64, show_spinner=False)
def _table_detail(_settings: Settings, *, name: str, metadata_location: str) -> TableDetail:
    _ = metadata_location  # the cache's key
    docs = _declared_docs(_settings, name)
    with OpenLake.existing(_settings) as lake:
        table = lake.table(name)
        head, named = table.head(), refs(table)
        return TableDetail(
            partition_by=head.partition_by,
            target_bytes=table.target_file_bytes(),
            snapshots=_snapshots(
                table, tagged={x.name: x.snapshot_id for x in named if x.kind == "tag"}
            ),
            partitions=_partitions(head),
            columns=tuple(
                ColumnFacts(
                    name=each.name,
                    type=each.type,
                    required=each.required,
                    doc=each.doc or docs.get(each.name, ""),
                    null_share=each.null_share,
                )
                for each in columns_of(head)
            ),
            refs=tuple(
                RefFacts(
                    name=each.name,
                    kind=each.kind,
                    snapshot_id=each.snapshot_id,
                    ends_at=time_at(each.ends_at_ms),
                )
                for each in named
            ),
            sizes=tuple(
                SizeFacts(at=each.at, rows=each.rows, bytes=each.bytes)
                for each in sizes_over_time(head)
            ),
        )


def table_preview(facts: TableFacts) -> PreviewFacts:
    """Read the first rows of a table at its newest snapshot; remembers that they cannot be read."""
    settings = Settings.load()
    damaged = _damaged(str(settings.state_dir))
    try:
        rows = _preview(settings, name=facts.name, metadata_location=facts.metadata_location)
    except LakeError as error:  # all that needs no data files is shown nevertheless
        damaged.add(facts.name)
        return PreviewFacts(error=Unreadable.of(facts.name, error, is_table=True))
    damaged.discard(facts.name)
    return PreviewFacts(rows=rows)


def unreadable_rows(tables: Iterable[TableFacts]) -> tuple[Unreadable, ...]:
    """Say why rows cannot be read that a page could not read, by reading these anew: no other.

    Pages read the metadata of every table, and data files only where rows are shown.
    """
    damaged = _damaged(str(Settings.load().state_dir))
    found = (table_preview(each).error for each in tables if each.name in damaged)
    return tuple(each for each in found if each is not None)


@st.cache_resource(max_entries=8, show_spinner=False)
def _damaged(state_dir: str) -> set[str]:
    """Return the names of the tables of one lake whose rows could not be read when last shown."""
    _ = state_dir  # the cache's key
    return set()


@st.cache_data(max_entries=32, show_spinner=False)
def _preview(
    _settings: Settings, *, name: str, metadata_location: str
) -> tuple[dict[str, object], ...]:
    _ = metadata_location  # the cache's key
    with OpenLake.existing(_settings) as lake:
        return tuple(first_rows(lake.table(name).head(), limit=PREVIEW_ROWS))


def writes_now(facts: TableFacts) -> tuple[WriteFacts, ...]:
    """List who is writing files of a table now, maintenance included."""
    with OpenLake.existing(Settings.load()) as lake:
        return tuple(
            WriteFacts(host=each.host, pid=each.pid, started_at=time_at(each.started_at_ms or None))
            for each in lake.registry.writes(facts.name)
        )


def _declared_docs(settings: Settings, name: str) -> dict[str, str]:
    streams = inspect_declarations(settings).streams.values()
    return {
        field: each.doc
        for stream in streams
        if str(stream.table) == name
        for field, each in stream.fields.items()
    }


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
        committed_at=time_at(record.committed_at_ms),
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
