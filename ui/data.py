"""Read the facts about the whole lake and its tables; only `…data` modules of `ui` call headrace.

Results are plain records. Results that depend on one table are cached by its metadata location, so
they are computed once per commit; results about the whole lake are cached for `FRESH_S` seconds.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import pyarrow as pa
import streamlit as st

from headrace.config import Settings
from headrace.datasets.lockfile import Lockfile
from headrace.datasets.versions import list_datasets
from headrace.definitions.load import inspect_declarations
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, LakeNotFoundError
from headrace.iceberg.partitions import PartitionKey
from headrace.ingest import dead_letters, watermark
from headrace.ingest.field_use import misspelt
from headrace.ingest.status import status
from headrace.maintenance.cleanup.orphans import ORPHAN_BYTES, ORPHAN_FILES
from headrace.maintenance.health.health import health_of
from headrace.maintenance.health.state import TableState, table_state
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.registry import CommitRecord
from headrace.registry.checks import failed_checks
from headrace.samples.resolve import Recipe
from headrace.serving.open import existing_store
from headrace.tables.history.changes import changes
from headrace.tables.history.commit_log import record_of
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.readable import read_each
from headrace.tables.refs.refs import tags
from headrace.tables.version import TableVersion
from ui.facts import (
    ONLINE_STORE,
    ColumnFacts,
    DayFacts,
    EdgeFacts,
    FailedCheck,
    HealthPart,
    LabelRows,
    LakeFacts,
    OnlineView,
    PartitionFacts,
    PinFacts,
    QueueItem,
    SnapshotFacts,
    StreamFacts,
    TableDetail,
    TableFacts,
    UnreadableFacts,
    VersionFacts,
    WaitingItem,
)
from ui.reading import FRESH_S, utc_time

__all__ = ["LakeError", "lake_facts", "table_detail"]

SNAPSHOTS_MAX = 200
_TABLES_MAX = 1_000


def lake_facts() -> LakeFacts:
    """Read the state of the whole lake; if there is no lake, return empty facts and create nothing.

    Raises:
        LakeError: If the settings or the lake cannot be read.

    """
    settings = Settings.load()
    return _lake_facts(settings, state_dir=str(settings.state_dir))


def table_detail(facts: TableFacts) -> TableDetail:
    """Read the snapshots, files and schema of one table.

    Raises:
        TableNotFoundError: If the table no longer exists.

    """
    settings = Settings.load()
    return _table_detail(settings, name=facts.name, metadata_location=facts.metadata_location)


@st.cache_data(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _lake_facts(_settings: Settings, *, state_dir: str) -> LakeFacts:
    _ = state_dir  # the cache's key
    declared = inspect_declarations(_settings)
    try:
        opened = OpenLake.existing(_settings)
    except LakeNotFoundError:
        return LakeFacts(problems=declared.problems)
    with opened as lake:
        read = read_each(lake, lambda table: (table.head(), _state(table)))
        tables = tuple(_table_facts(head, state) for head, state in read.found)
        plan = plan_maintenance((state for _, state in read.found), now=dt.datetime.now(dt.UTC))
        heads = {table.name: table.snapshot_id for table in tables}
        letters = _dead_letters(lake)
        online = _online(lake, heads=heads)
        return LakeFacts(
            tables=tables,
            unreadable=tuple(_unreadable(str(each.table), each.error) for each in read.unreadable),
            failed_checks=tuple(
                FailedCheck(subject=each.subject, check=each.check, at=each.at)
                for each in failed_checks(lake.registry)
            ),
            letters=letters,
            streams=tuple(
                _stream(lake, stream, letters or {}) for stream in declared.streams.values()
            ),
            edges=tuple(_edges(lake, heads=heads)),
            versions=tuple(_version(lock) for lock in list_datasets(lake)),
            online=() if isinstance(online, UnreadableFacts) else online,
            no_online=online if isinstance(online, UnreadableFacts) else None,
            queue=_queue(plan),
            waiting=_waiting(plan),
            problems=declared.problems,
        )


def _stream(
    lake: OpenLake, stream: Stream, letters: Mapping[str, Mapping[str, int]]
) -> StreamFacts:
    facts = StreamFacts(
        name=stream.name,
        table=str(stream.table),
        source=stream.source.text,
        dead_letters=sum(letters.get(stream.name, {}).values()),
        reasons=letters.get(stream.name, {}),
    )
    try:
        found = status(lake, stream)
    except LakeError:  # its table cannot be read, which is reported separately
        return facts
    return replace(
        facts,
        waiting=len(found.sources_waiting),
        missing=found.sources_missing,
        undeclared=found.undeclared_fields,
        misspelt=misspelt(found.undeclared_fields, stream),
        absent=found.absent_fields,
    )


def _state(table: LakeTable) -> TableState:
    """Read a table's state; clean-up results are read every time: they change without a commit."""
    known = _state_at(table, metadata_location=table.head().metadata_location)
    measures = table.lake.registry.measures(str(table.name))
    return replace(
        known,
        orphan_bytes=measures.get(ORPHAN_BYTES),
        orphan_files=measures.get(ORPHAN_FILES),
        look_due=known.look_due and measures.get(ORPHAN_BYTES) == known.orphan_bytes,
    )


@st.cache_data(max_entries=_TABLES_MAX, show_spinner=False)
def _state_at(_table: LakeTable, *, metadata_location: str) -> TableState:
    _ = metadata_location  # the cache's key
    return table_state(_table)


def _table_facts(head: TableVersion, state: TableState) -> TableFacts:
    found = health_of(state)
    return TableFacts(
        name=str(head.name),
        snapshot_id=found.snapshot_id,
        metadata_location=head.metadata_location,
        score=found.score,
        parts=tuple(
            HealthPart(name=part.name, finding=part.finding, penalty=part.penalty, gain=part.gain)
            for part in found.parts
        ),
        rows=found.rows,
        files=found.files,
        small_files=found.small_files,
        bytes=found.bytes,
        snapshots=found.snapshots,
        committed_at=utc_time(found.committed_at_ms),
        watermark=watermark.as_time(watermark.read(head.properties)),
    )


def _queue(plan: MaintenancePlan) -> tuple[QueueItem, ...]:
    return tuple(
        QueueItem(
            place=place,
            table=str(action.table),
            partition=_partition(action.partition),
            action=action.kind.value,
            reason=action.reason,
            gain=action.gain,
            cost_bytes=action.cost_bytes,
        )
        for place, action in enumerate(plan.actions, start=1)
    )


def _waiting(plan: MaintenancePlan) -> tuple[WaitingItem, ...]:
    return tuple(
        WaitingItem(
            table=str(each.table),
            partition=_partition(each.partition),
            action=each.kind.value,
            reason=each.text(),
            cost_bytes=each.cost_bytes,
            until=utc_time(each.until_ms),
        )
        for each in plan.waiting
    )


def _partition(key: PartitionKey | None) -> str:
    if key is None:
        return ""
    return ", ".join(str(value) for value in key) or "whole table"


def _dead_letters(lake: OpenLake) -> Mapping[str, Mapping[str, int]] | None:
    """Count dead letters by stream and error code, most frequent first; None if unreadable."""
    if not lake.exists(dead_letters.TABLE):
        return {}
    try:
        head = lake.table(dead_letters.TABLE).head()
        return _dead_letters_at(head, metadata_location=head.metadata_location)
    except LakeError:  # the table is listed as unreadable
        return None


@st.cache_data(max_entries=8, show_spinner=False)
def _dead_letters_at(
    _head: TableVersion, *, metadata_location: str
) -> Mapping[str, Mapping[str, int]]:
    _ = metadata_location
    counted: dict[str, Counter[str]] = {}
    for batch in _head.batches(columns=("stream", "error_code")):
        groups = pa.table(batch).group_by(["stream", "error_code"]).aggregate([([], "count_all")])
        for row in groups.to_pylist():
            counter = counted.setdefault(row["stream"], Counter())
            counter[row["error_code"]] += row["count_all"]
    return {stream: dict(counter.most_common()) for stream, counter in counted.items()}


def _edges(lake: OpenLake, *, heads: Mapping[str, int | None]) -> list[EdgeFacts]:
    return [
        EdgeFacts(
            source=edge.source,
            source_snapshot_id=edge.source_snapshot_id,
            target=edge.target,
            target_snapshot_id=edge.target_snapshot_id,
            behind=_behind(lake, edge.source, since=edge.source_snapshot_id, heads=heads),
        )
        for edge in lake.registry.edges()
    ]


def _behind(
    lake: OpenLake, source: str, *, since: int, heads: Mapping[str, int | None]
) -> int | None:
    if source not in heads:
        return None
    if heads[source] == since:
        return 0
    try:
        return len(changes(lake.table(source), since=since).operations)
    except LakeError:  # expired and not in the commit log, or the table is unreadable
        return None


def _unreadable(name: str, error: LakeError) -> UnreadableFacts:
    return UnreadableFacts(name=name, code=error.code, text=error.message, remedy=error.remedy)


def _online(
    lake: OpenLake, *, heads: Mapping[str, int | None]
) -> tuple[OnlineView, ...] | UnreadableFacts:
    try:
        store = existing_store(lake.settings)
        if store is None:
            return ()
        with store:
            found = [store.freshness(view) for view in store.views()]
    except LakeError as error:  # the tables remain readable
        return _unreadable(ONLINE_STORE, error)
    return tuple(
        OnlineView(
            view=view.view,
            rows=view.rows,
            newest_event_time=view.newest_event_time,
            snapshot_id=view.snapshot_id,
            published_at=view.published_at,
            behind=_behind(lake, view.view, since=view.snapshot_id, heads=heads),
        )
        for view in found
        if view is not None
    )


def _version(lock: Lockfile) -> VersionFacts:
    labels = tuple(dict.fromkeys(count.label for count in lock.labels))
    roles = _roles(lock)
    return VersionFacts(
        name=lock.name,
        version=lock.version,
        table=lock.table,
        snapshot_id=lock.snapshot_id,
        first_day=lock.first_day,
        last_day=lock.last_day,
        filter_labels=lock.filter_labels,
        left_out=lock.left_out,
        rows=lock.rows,
        positives=lock.positives,
        content_hash=lock.content_hash,
        code=lock.code,
        created_at=lock.created_at,
        watermarks={table: watermark.as_time(us) for table, us in lock.watermarks.items()},
        labels=tuple(
            LabelRows(label=each.label, state=each.state, value=each.value, rows=each.rows)
            for each in lock.labels
        ),
        days=tuple(
            DayFacts(
                day=day.day, rows=day.rows, content_hash=day.content_hash, inputs=dict(day.inputs)
            )
            for day in lock.days
        ),
        pins=tuple(
            PinFacts(table=pin.table, snapshot_id=pin.snapshot_id, tag=pin.tag) for pin in lock.pins
        ),
        dense=tuple(name for name, role in roles.items() if role == "dense"),
        sparse=tuple(name for name, role in roles.items() if role == "sparse"),
        sequence=tuple(name for name, role in roles.items() if role == "sequence"),
        label_names=labels,
    )


def _roles(lock: Lockfile) -> dict[str, str]:
    """Suggest the model input role of each column: counts and rates are dense, ids are sparse.

    Only entity keys and feature columns get a role. Other exposure columns, such as the logging
    policy's probability, describe how the exposure came about and do not exist at serving time.
    """
    try:
        recipe = Recipe.from_json(json.dumps(lock.definition))
    except (KeyError, TypeError, ValueError):
        return {}  # published by a version of headrace with another recipe format
    features = [name for feature in recipe.features for _, name in feature.columns]
    roles: dict[str, str] = {}
    for name in (*recipe.entities, *features):
        kind = lock.columns.get(name, "")
        if kind.startswith("list"):
            roles[name] = "sequence"
        elif kind.startswith(("float", "decimal")) or (kind == "int" and name in features):
            roles[name] = "dense"
        elif kind in ("int", "string"):
            roles[name] = "sparse"
    return roles


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
        name = _partition(file.partition)
        sizes.setdefault(name, []).append(file.bytes)
        rows[name] += file.rows
    return tuple(
        PartitionFacts(partition=name, rows=rows[name], file_bytes=tuple(sizes[name]))
        for name in sizes
    )
