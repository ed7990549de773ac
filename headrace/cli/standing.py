"""What `headrace status` reads of a lake: streams, what is out of date, checks, queue, online store."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.cli.flow import ONLINE_STORE, Edge, online_edges, table_edges
from headrace.errors import LakeError, Remedy

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.stream import Stream
    from headrace.registry.checks import FailedCheck
    from headrace.serving.open import PublishedView
    from headrace.tables.lake import OpenLake


@dataclass(frozen=True, kw_only=True)
class StreamStanding:
    """How far one stream is.

    `refused` are dead letters of its newest day that nobody acknowledged, of `dead_letters` in all;
    `lag` are offsets that its service has not read, None without a service; `waiting` are its files
    or partitions with something to take. `stale` means that it was followed, and its watermark is
    further behind the clock than it may be.
    """

    stream: str
    rows: int
    committed_at: dt.datetime | None
    watermark: dt.datetime | None
    waiting: int
    dead_letters: int
    refused: int
    lag: int | None
    service: str | None
    trouble: str = ""
    missing: str = ""
    stale: bool = False


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that cannot be read, or is wrong, and what to do about it."""

    subject: str
    text: str
    remedy: Remedy | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a whole lake stands.

    `unfit` names tables that health scores below 80, with what costs most. `sample_sets` maps sample
    tables to their sample sets.
    """

    problems: tuple[str, ...]
    streams: tuple[StreamStanding, ...]
    unreadable: tuple[Trouble, ...]
    edges: tuple[Edge, ...]
    sample_sets: Mapping[str, str]
    failed_checks: "tuple[FailedCheck, ...]"
    unfit: tuple[tuple[str, str], ...]
    actions: int
    actions_bytes: int
    waiting_actions: int
    online: "tuple[PublishedView, ...]"
    versions: tuple[str, ...]


_FIT_SCORE = 80


def read_standing(settings: "Settings") -> Standing:
    """Read how a lake stands; one table or store that cannot be read does not hide the others.

    Raises:
        LakeNotFoundError: If there is no lake yet; nothing is created.

    """
    from headrace.datasets.versions import list_datasets
    from headrace.definitions.load import inspect_declarations
    from headrace.maintenance.health.health import health_of
    from headrace.maintenance.queue.maintain import survey
    from headrace.maintenance.queue.schedule import plan_maintenance
    from headrace.registry.checks import failed_checks
    from headrace.tables.lake import OpenLake

    declared = inspect_declarations(settings)
    troubles: list[Trouble] = []
    with OpenLake.existing(settings) as lake:
        found = survey(lake)
        troubles += [_trouble(str(name), error) for name, error in found.unreadable.items()]
        plan = plan_maintenance(found.states, now=dt.datetime.now(dt.UTC))
        scored = [health_of(state) for state in found.states]
        online = _online(settings, troubles)
        newest = {lock.name: lock.version for lock in list_datasets(lake)}
        return Standing(
            problems=declared.problems,
            streams=tuple(_streams(lake, declared.streams, troubles)),
            edges=(*table_edges(lake), *online_edges(lake, online)),
            sample_sets={str(each.table): each.name for each in declared.sample_sets.values()},
            failed_checks=tuple(failed_checks(lake.registry)),
            unfit=tuple(
                (str(each.table), each.worst.finding)
                for each in sorted(scored, key=lambda each: each.score)
                if each.score < _FIT_SCORE and each.worst is not None
            ),
            actions=len(plan.actions),
            actions_bytes=plan.cost_bytes,
            waiting_actions=len(plan.waiting),
            online=online,
            versions=tuple(f"{name} v{version}" for name, version in newest.items()),
            unreadable=tuple(troubles),
        )


def _trouble(subject: str, error: LakeError) -> Trouble:
    return Trouble(subject=subject, text=error.message, remedy=error.remedy)


def _streams(
    lake: "OpenLake", streams: "Mapping[str, Stream]", troubles: list[Trouble]
) -> Iterator[StreamStanding]:
    for stream in streams.values():
        try:
            yield _stream(lake, stream)
        except LakeError as error:  # the others are shown
            troubles.append(_trouble(f"stream {stream.name}", error))


def _stream(lake: "OpenLake", stream: "Stream") -> StreamStanding:
    from headrace.ingest import progress, watermark
    from headrace.ingest.recent import recent
    from headrace.ingest.status import status

    found = status(lake, stream)
    head = lake.table(stream.table).head() if lake.exists(stream.table) else None
    said = progress.read(lake.settings, stream.name)
    lag_max = watermark.lag_max(stream.allowed_lateness)
    is_late = found.watermark is not None and dt.datetime.now(dt.UTC) - found.watermark > lag_max
    return StreamStanding(
        stream=stream.name,
        rows=found.rows,
        committed_at=None if head is None else _time(head.committed_at_ms),
        watermark=found.watermark,
        waiting=len(found.sources_waiting),
        dead_letters=found.dead_letters,
        refused=recent(lake, stream).dead_letters if found.dead_letters else 0,
        lag=sum(said.lag.values()) if said is not None and said.is_live else None,
        service=None if said is None else said.phase_now,
        trouble=f"{said.phase_now} {said.error}".strip() if said and said.needs_person else "",
        missing=found.sources_missing or "",
        stale=said is not None and is_late,
    )


def _time(at_ms: int | None) -> dt.datetime | None:
    return None if at_ms is None else dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)


def _online(settings: "Settings", troubles: list[Trouble]) -> "tuple[PublishedView, ...]":
    from headrace.serving.open import published_views

    try:
        return published_views(settings)
    except LakeError as error:
        troubles.append(_trouble(ONLINE_STORE, error))
        return ()
