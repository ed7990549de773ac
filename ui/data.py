"""Read the facts about the whole lake; only `…data` modules of `ui` call headrace.

What depends on one table is read once per commit: it is kept by the table's metadata file, whose
name changes with each. The rest is read every `FRESH_S` seconds, with a number of queries that does
not depend on the number of tables.
"""

import datetime as dt
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata

import pyarrow as pa
import streamlit as st

from headrace.config import Settings
from headrace.datasets.models import trained_models
from headrace.datasets.versions import list_datasets
from headrace.definitions.load import Declarations, inspect_declarations
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, LakeNotFoundError
from headrace.ingest import dead_letters, progress, watermark
from headrace.ingest.field_use import misspelt
from headrace.ingest.status import status
from headrace.maintenance.cleanup.orphans import ORPHAN_BYTES, ORPHAN_FILES
from headrace.maintenance.health.health import health_of
from headrace.maintenance.health.state import TableState, table_state
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.registry import Measure
from headrace.registry.checks import failed_checks
from headrace.serving.open import published_views
from headrace.tables.history.lag import lag_of, rows_gained
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion
from ui.facts import (
    ONLINE_STORE,
    EdgeFacts,
    FailedCheck,
    FrameFacts,
    HealthPart,
    LakeFacts,
    ModelFacts,
    OnlineView,
    QueueItem,
    ServiceFacts,
    StreamFacts,
    TableFacts,
    UnreadableFacts,
    WaitingItem,
)
from ui.reading import FRESH_S, utc_time
from ui.table_data import partition_text
from ui.version_data import version_facts

__all__ = ["LakeError", "frame_facts", "lake_facts"]

_TABLES_MAX = 2_000
_LAGS_MAX = 4_096


def frame_facts() -> FrameFacts:
    """Say which lake the pages show; reads its settings and nothing else.

    Raises:
        SettingsError: If they cannot be read.

    """
    settings = Settings.load()
    return FrameFacts(
        lake=settings.root.name, profile=settings.profile, version=metadata.version("headrace")
    )


def lake_facts(*, within_s: float = math.inf) -> LakeFacts:
    """Read the state of the whole lake; if there is no lake, return empty facts and create nothing.

    After `within_s` seconds no further table is opened: those left are `unread`, and the next call
    goes on with them. At least one is read by each call.

    Raises:
        LakeError: If the settings or the lake cannot be read.

    """
    settings = Settings.load()
    key = str(settings.state_dir)
    facts = _lake_facts(settings, within_s, state_dir=key)
    if facts.unread:
        _lake_facts.clear(settings, within_s, state_dir=key)
    return facts


@st.cache_data(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _lake_facts(_settings: Settings, _within_s: float, *, state_dir: str) -> LakeFacts:
    declared = inspect_declarations(_settings)
    now = dt.datetime.now(dt.UTC)
    try:
        opened = OpenLake.existing(_settings)
    except LakeNotFoundError:
        return LakeFacts(problems=declared.problems, read_at=now)
    with opened as lake:
        read = _read_tables(lake, _shelf(state_dir), within_s=_within_s)
        tables = tuple(_table_facts(each) for each in read.found)
        if read.unread:
            return LakeFacts(
                tables=tables, unreadable=read.unreadable, unread=read.unread, read_at=now
            )
        plan = plan_maintenance((each.state for each in read.found), now=now)
        return replace(
            _around(lake, declared, tables=tables, now=now),
            tables=tables,
            unreadable=read.unreadable,
            queue=_queue(plan),
            waiting=_waiting(plan),
        )


def _around(
    lake: OpenLake, declared: Declarations, *, tables: tuple[TableFacts, ...], now: dt.datetime
) -> LakeFacts:
    """Read all that is not of one table alone."""
    heads = {table.name: table.snapshot_id for table in tables}
    letters, online = _dead_letters(lake), _online(lake, heads=heads)
    locks = list_datasets(lake)
    return LakeFacts(
        failed_checks=tuple(
            FailedCheck(subject=each.subject, check=each.check, at=each.at)
            for each in failed_checks(lake.registry)
        ),
        letters=letters,
        streams=tuple(_stream(lake, stream, letters or {}) for stream in declared.streams.values()),
        edges=tuple(_edges(lake, heads=heads)),
        versions=tuple(version_facts(lock) for lock in locks),
        models=tuple(
            ModelFacts(
                dataset=each.dataset,
                version=each.version,
                folder=each.folder,
                trained_at=each.trained_at,
            )
            for each in trained_models(lake.settings, locks)
        ),
        online=() if isinstance(online, UnreadableFacts) else online,
        no_online=online if isinstance(online, UnreadableFacts) else None,
        problems=declared.problems,
        rows_today=_rows_today(lake, tables, now=now),
        services=tuple(_services(lake, declared)),
        sample_sets={str(each.table): name for name, each in declared.sample_sets.items()},
        read_at=now,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was read of one table at one of its metadata files."""

    name: str
    metadata_location: str
    watermark: dt.datetime | None
    state: TableState


@dataclass(frozen=True, kw_only=True)
class _Shelf:
    """What is known of the tables of one lake, by name; each entry is of one metadata file."""

    seen: dict[str, tuple[str | None, _Seen]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    found: tuple[_Seen, ...]
    unreadable: tuple[UnreadableFacts, ...]
    unread: tuple[str, ...]


@st.cache_resource(max_entries=8, show_spinner=False)
def _shelf(state_dir: str) -> _Shelf:
    _ = state_dir  # the cache's key
    return _Shelf()


def _read_tables(lake: OpenLake, shelf: _Shelf, *, within_s: float) -> _Reading:
    until = time.monotonic() + within_s
    found: list[_Seen] = []
    unreadable: list[UnreadableFacts] = []
    unread: list[str] = []
    opened = 0
    measures = lake.registry.measures_of_all()
    for table, location in lake.locations().items():
        name = str(table)
        known_at, known = shelf.seen.get(name, (None, None))
        if known is None or location is None or known_at != location:
            if opened and time.monotonic() > until:
                unread.append(name)
                continue
            opened += 1
            try:
                known = _see(lake, name)
            except LakeError as error:
                unreadable.append(_unreadable(name, error))
                continue
            shelf.seen[name] = (location, known)
        found.append(_with_measures(known, measures.get(name, {})))
    while len(shelf.seen) > _TABLES_MAX:
        shelf.seen.pop(next(iter(shelf.seen)))
    return _Reading(found=tuple(found), unreadable=tuple(unreadable), unread=tuple(unread))


def _see(lake: OpenLake, name: str) -> _Seen:
    table = lake.table(name)
    head = table.head()
    return _Seen(
        name=name,
        metadata_location=head.metadata_location,
        watermark=watermark.as_time(watermark.read(head.properties)),
        state=table_state(table),
    )


def _with_measures(seen: _Seen, measures: Mapping[str, Measure]) -> _Seen:
    """Add what clean-up found, which changes without a commit."""
    known, held = seen.state, measures.get(ORPHAN_BYTES)
    if known.orphan_bytes == held:
        return seen
    state = replace(
        known,
        orphan_bytes=held,
        orphan_files=measures.get(ORPHAN_FILES),
        look_due=False,
    )
    return replace(seen, state=state)


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


def _services(lake: OpenLake, declared: Declarations) -> Iterator[ServiceFacts]:
    for stream in declared.streams.values():
        said = progress.read(lake.settings, stream.name)
        if said is not None:
            yield ServiceFacts(
                stream=stream.name,
                phase=said.phase_now,
                lag=sum(said.lag.values()),
                behind_s=said.behind_s,
                error=said.error,
                updated_at=utc_time(said.updated_ms or None),
                failed=said.needs_person,
                watermark_lag_s_max=watermark.lag_max(stream.allowed_lateness).total_seconds(),
            )


def _rows_today(
    lake: OpenLake, tables: tuple[TableFacts, ...], *, now: dt.datetime
) -> dict[str, int]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        table.name: rows
        for table in tables
        if table.committed_at is not None
        and table.committed_at >= midnight
        and (rows := _rows_since(lake, midnight, table.name, table.metadata_location))
    }


@st.cache_data(max_entries=_TABLES_MAX, show_spinner=False)
def _rows_since(_lake: OpenLake, since: dt.datetime, name: str, metadata_location: str) -> int:
    _ = metadata_location  # the cache's key
    return rows_gained(_lake, name, since_ms=round(since.timestamp() * 1000))


def _table_facts(seen: _Seen) -> TableFacts:
    found = health_of(seen.state)
    return TableFacts(
        name=seen.name,
        snapshot_id=found.snapshot_id,
        metadata_location=seen.metadata_location,
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
        watermark=seen.watermark,
    )


def _queue(plan: MaintenancePlan) -> tuple[QueueItem, ...]:
    return tuple(
        QueueItem(
            place=place,
            table=str(action.table),
            partition=partition_text(action.partition),
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
            partition=partition_text(each.partition),
            action=each.kind.value,
            reason=each.text(),
            cost_bytes=each.cost_bytes,
            until=utc_time(each.until_ms),
        )
        for each in plan.waiting
    )


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
    found: list[EdgeFacts] = []
    for edge in lake.registry.edges():
        behind, since = _behind(lake, edge.source, since=edge.source_snapshot_id, heads=heads)
        found.append(
            EdgeFacts(
                source=edge.source,
                source_snapshot_id=edge.source_snapshot_id,
                target=edge.target,
                target_snapshot_id=edge.target_snapshot_id,
                behind=behind,
                since=since,
            )
        )
    return found


def _behind(
    lake: OpenLake, source: str, *, since: int, heads: Mapping[str, int | None]
) -> tuple[int | None, dt.datetime | None]:
    """Count the commits of `source` after `since`, and say when the oldest of them was made."""
    if source not in heads:
        return None, None
    if heads[source] == since:
        return 0, None
    return _lag(lake, str(lake.settings.state_dir), source, since=since, head=heads[source])


@st.cache_data(max_entries=_LAGS_MAX, show_spinner=False)
def _lag(
    _lake: OpenLake, state_dir: str, source: str, *, since: int, head: int | None
) -> tuple[int | None, dt.datetime | None]:
    _ = state_dir  # the cache's key
    found = lag_of(_lake, source, head=head, since=since)
    return (None, None) if found is None else (found.commits, utc_time(found.since_ms))


def _unreadable(name: str, error: LakeError) -> UnreadableFacts:
    return UnreadableFacts(name=name, code=error.code, text=error.message, remedy=error.remedy)


def _online(
    lake: OpenLake, *, heads: Mapping[str, int | None]
) -> tuple[OnlineView, ...] | UnreadableFacts:
    try:
        published = published_views(lake.settings)
    except LakeError as error:  # the tables remain readable
        return _unreadable(ONLINE_STORE, error)
    found: list[OnlineView] = []
    for each in published:
        view = each.fresh
        behind, since = _behind(lake, each.table, since=view.snapshot_id, heads=heads)
        found.append(
            OnlineView(
                view=view.view,
                rows=view.rows,
                newest_event_time=view.newest_event_time,
                snapshot_id=view.snapshot_id,
                published_at=view.published_at,
                behind=behind,
                since=since,
            )
        )
    return tuple(found)
