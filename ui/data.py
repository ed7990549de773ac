"""Read the facts about the whole lake; only `…data` modules of `ui` call headrace.

What depends on one table is read once per commit: it is kept by the table's metadata file, whose
name changes with each. The rest is read every `FRESH_S` seconds, with a number of queries that does
not depend on the number of tables.
"""

import datetime as dt
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata

import pyarrow as pa
import streamlit as st

from headrace.clock import time_at
from headrace.config import Settings
from headrace.datasets.models import trained_models
from headrace.datasets.versions import list_datasets
from headrace.definitions.load import Declarations, inspect_declarations
from headrace.definitions.properties import MODEL_COLUMNS, RECIPE_PROPERTY
from headrace.errors import LakeError, LakeNotFoundError
from headrace.flink.paimon_ties import Tie, Ties
from headrace.flink.paimon_upkeep import paimon_actions
from headrace.identifiers import TableName
from headrace.ingest import dead_letters, watermark
from headrace.ingest.recent import ACKNOWLEDGED_MS
from headrace.maintenance.cleanup.orphans import ORPHAN_BYTES, ORPHAN_FILES
from headrace.maintenance.health.health import health_of
from headrace.maintenance.health.state import TableState, table_state
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.registry import Measure
from headrace.registry.checks import failed_checks
from headrace.samples.column_sources import ColumnSource, model_column_sources
from headrace.serving.open import PublishedView
from headrace.standing.edges import LagOf, online_edges, table_edges
from headrace.standing.facts import Unreadable
from headrace.standing.streams import of_others, read_streams, refused_by_stream, with_refused
from headrace.tables.history.lag import Lag, lag_of, rows_gained
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion
from ui.facts import (
    FrameFacts,
    LakeFacts,
    ModelFacts,
    OnlineView,
    QueueItem,
    TableFacts,
    WaitingItem,
)
from ui.reading import FRESH_S
from ui.server_data import ANSWER_S, Asking
from ui.table_data import partition_text, unreadable_rows
from ui.version_data import sources_in, version_facts

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

    No table is opened that may not be read within `within_s` seconds: those left are `unread`, and the
    next call goes on with them. Each call reads at least one. Without it every table is read, and every
    server waited for.

    Raises:
        LakeError: If the settings or the lake cannot be read.

    """
    settings = Settings.load()
    key = str(settings.state_dir)
    facts = _lake_facts(settings, within_s, state_dir=key)
    if facts.unread or facts.awaited:
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
    asking = Asking(
        settings=_settings, wait_s=None if math.isinf(_within_s) else min(_within_s, ANSWER_S)
    )
    with opened as lake:
        read = _read_tables(lake, _shelf(state_dir), within_s=_within_s)
        tables = tuple(_table_facts(each) for each in read.found)
        if read.unread:
            return LakeFacts(
                tables=tables, unreadable=read.unreadable, unread=read.unread, read_at=now
            )
        around = _around(lake, declared, read, tables=tables, asking=asking, now=now)
        more = paimon_actions(
            around.paimon,
            _ties(read),
            has_flink=_settings.flink is not None,
            keep=_settings.snapshots_kept,
            now_ms=round(now.timestamp() * 1000),
        )
        plan = plan_maintenance((each.state for each in read.found), others=more, now=now)
        return replace(
            around,
            tables=tables,
            unreadable=read.unreadable,
            queue=_queue(plan),
            waiting=_waiting(plan),
            awaited=asking.awaited,
            trino_catalog="" if _settings.trino is None else _settings.trino.catalog,
        )


def _ties(read: "_Reading") -> Ties:
    """Return what the tables have to do with tables of Paimon."""
    return Ties.among(
        ((each.name, each.tie) for each in read.found),
        unread=(each.name for each in read.unreadable),
    )


def _around(
    lake: OpenLake,
    declared: Declarations,
    read: "_Reading",
    *,
    tables: tuple[TableFacts, ...],
    asking: Asking,
    now: dt.datetime,
) -> LakeFacts:
    """Read all that is not of one table alone."""
    lag = _lags(lake, heads={table.name: table.snapshot_id for table in tables})
    letters = _dead_letters(lake, read.locations)
    online = _online(lake, asking.online(), lag=lag)
    jobs = asking.jobs(lake, declared)
    streams = read_streams(
        lake,
        declared.streams,
        unreadable={each.name for each in read.unreadable},
        of_flink=jobs.tables,
    )
    paimon = asking.paimon(_ties(read).tokens)
    refused = {} if letters is None else _refused(lake, declared, read.locations)
    locks = list_datasets(lake)
    return LakeFacts(
        failed_checks=tuple(failed_checks(lake.registry)),
        letters=letters,
        letters_of_others=of_others(streams.streams, refused),
        streams=with_refused(streams.streams, refused),
        broken_streams=(*streams.unreadable, *jobs.unreadable, *paimon.unreadable),
        unreadable_rows=unreadable_rows(tables),
        jobs=jobs.jobs,
        paimon=paimon.tables,
        imports=paimon.imports,
        edges=tuple(table_edges(lake, lag=lag)),
        versions=tuple(version_facts(lock, read.measures) for lock in locks),
        models=tuple(
            ModelFacts(
                dataset=each.dataset,
                version=each.version,
                folder=each.folder,
                trained_at=each.trained_at,
            )
            for each in trained_models(lake.settings, locks)
        ),
        online=() if isinstance(online, Unreadable) else online,
        no_online=online if isinstance(online, Unreadable) else None,
        problems=declared.problems,
        rows_today=_rows_today(lake, tables, now=now),
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
    sources: tuple[ColumnSource, ...]
    tie: Tie


@dataclass(frozen=True, kw_only=True)
class _Shelf:
    """What is known of the tables of one lake, by name; each entry is of one metadata file."""

    seen: dict[str, tuple[str | None, _Seen]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    found: tuple[_Seen, ...]
    unreadable: tuple[Unreadable, ...]
    unread: tuple[str, ...]
    locations: Mapping[TableName, str | None]
    measures: Mapping[str, Mapping[str, Measure]]


@st.cache_resource(max_entries=8, show_spinner=False)
def _shelf(state_dir: str) -> _Shelf:
    _ = state_dir  # the cache's key
    return _Shelf()


def _read_tables(lake: OpenLake, shelf: _Shelf, *, within_s: float) -> _Reading:
    until = time.monotonic() + within_s
    found: list[_Seen] = []
    unreadable: list[Unreadable] = []
    unread: list[str] = []
    longest_s: float | None = None  # of the tables opened here
    measures = lake.registry.measures_of_all()
    locations = lake.locations()
    for table, location in locations.items():
        name = str(table)
        known_at, known = shelf.seen.get(name, (None, None))
        if known is None or location is None or known_at != location:
            began = time.monotonic()
            if longest_s is not None and began + longest_s > until:  # the next may be as large
                unread.append(name)
                continue
            try:
                known = _see(lake, name)
            except LakeError as error:
                unreadable.append(Unreadable.of(name, error, is_table=True))
                continue  # it does not count: each call would read it alone, and no other one
            longest_s = max(longest_s or 0.0, time.monotonic() - began)
            shelf.seen[name] = (location, known)
        found.append(_with_measures(known, measures.get(name, {})))
    while len(shelf.seen) > _TABLES_MAX:
        shelf.seen.pop(next(iter(list(shelf.seen))), None)  # pages of other people do so too
    return _Reading(
        found=tuple(found),
        unreadable=tuple(unreadable),
        unread=tuple(unread),
        locations=locations,
        measures=measures,
    )


def _see(lake: OpenLake, name: str) -> _Seen:
    table = lake.table(name)
    head = table.head()
    return _Seen(
        name=name,
        metadata_location=head.metadata_location,
        watermark=watermark.as_time(watermark.read(head.properties)),
        state=table_state(table),
        tie=Tie.of(head.properties),
        sources=(
            *sources_in(head.properties.get(RECIPE_PROPERTY, "{}")),
            *model_column_sources(head.properties.get(MODEL_COLUMNS, "{}")),
        ),
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
        parts=found.parts,
        rows=found.rows,
        files=found.files,
        small_files=found.small_files,
        bytes=found.bytes,
        snapshots=found.snapshots,
        committed_at=time_at(found.committed_at_ms),
        watermark=seen.watermark,
        sources=seen.sources,
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
            by=action.executor.value,
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
            until=time_at(each.until_ms),
        )
        for each in plan.waiting
    )


def _dead_letters(
    lake: OpenLake, locations: Mapping[TableName, str | None]
) -> Mapping[str, Mapping[str, int]] | None:
    """Count dead letters by stream and error code, most frequent first; None if unreadable."""
    if dead_letters.TABLE not in locations:
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


def _refused(
    lake: OpenLake, declared: Declarations, locations: Mapping[TableName, str | None]
) -> Mapping[str, Mapping[str, int]]:
    """Count refused records that need a person, anew after each commit and acknowledgement."""
    if dead_letters.TABLE not in locations:
        return {}
    tables = {name: str(each.table) for name, each in declared.streams.items()}
    measures = lake.registry.measures_of_all()
    acknowledged = {
        name: measures.get(table, {}).get(ACKNOWLEDGED_MS) for name, table in tables.items()
    }
    heads = [locations.get(each.table) for each in declared.streams.values()]
    seen = repr((locations.get(dead_letters.TABLE), heads, acknowledged))
    return _refused_at(lake, declared, seen=seen)


@st.cache_data(max_entries=8, show_spinner=False)
def _refused_at(
    _lake: OpenLake, _declared: Declarations, *, seen: str
) -> Mapping[str, Mapping[str, int]]:
    _ = seen  # the cache's key
    return refused_by_stream(_lake, _declared.streams)


def _lags(lake: OpenLake, *, heads: Mapping[str, int | None]) -> LagOf:
    """Count commits up to the heads that were read."""

    def lag(table: str, since: int) -> Lag | None:
        if table not in heads:
            return None
        if heads[table] == since:
            return Lag(commits=0)
        key = str(lake.settings.state_dir)
        return _lag(lake, key, table, since=since, head=heads[table])

    return lag


@st.cache_data(max_entries=_LAGS_MAX, show_spinner=False)
def _lag(
    _lake: OpenLake, state_dir: str, source: str, *, since: int, head: int | None
) -> Lag | None:
    _ = state_dir  # the cache's key
    return lag_of(_lake, source, head=head, since=since)


def _online(
    lake: OpenLake, published: tuple[PublishedView, ...] | Unreadable, *, lag: LagOf
) -> tuple[OnlineView, ...] | Unreadable:
    if isinstance(published, Unreadable):
        return published
    edges = online_edges(lake, published, lag=lag)
    return tuple(
        OnlineView(
            view=each.fresh.view,
            table=each.table,
            rows=each.fresh.rows,
            newest_event_time=each.fresh.newest_event_time,
            snapshot_id=each.fresh.snapshot_id,
            published_at=each.fresh.published_at,
            behind=edge.commits,
            since=edge.since,
        )
        for each, edge in zip(published, edges, strict=True)
    )
