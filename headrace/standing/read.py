"""Read how a whole lake stands, once and in full."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.config import Settings
from headrace.datasets.versions import list_datasets
from headrace.definitions.load import inspect_declarations
from headrace.errors import LakeError
from headrace.flink.paimon_ties import Ties, ties_of
from headrace.flink.paimon_upkeep import paimon_actions
from headrace.ingest import dead_letters
from headrace.interop.paimon.summary import PaimonSummary
from headrace.maintenance.health.health import health_of
from headrace.maintenance.queue.maintain import Survey, survey
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.registry.checks import failed_checks
from headrace.serving.open import PublishedView, published_views
from headrace.standing.edges import lags, online_edges, table_edges
from headrace.standing.facts import Standing, Unreadable, unfit
from headrace.standing.flow import ONLINE_STORE, between, followed
from headrace.standing.jobs import read_jobs
from headrace.standing.paimon import read_paimon
from headrace.standing.streams import of_others, read_streams, refused_by_stream, with_refused
from headrace.tables.lake import OpenLake


@dataclass(frozen=True, kw_only=True)
class LakeRead:
    """How a lake stands, and what else of it is worth telling.

    `plan` is what maintenance would do now, `versions` are the newest of each dataset: `ctr v3`.
    """

    standing: Standing
    plan: MaintenancePlan
    online: tuple[PublishedView, ...]
    versions: tuple[str, ...]


def read_lake(settings: Settings) -> LakeRead:
    """Read how a lake stands; one table or store that cannot be read does not hide the others.

    Raises:
        LakeNotFoundError: If there is no lake yet; nothing is created.

    """
    declared = inspect_declarations(settings)
    with OpenLake.existing(settings) as lake:
        found = survey(lake)
        unreadable = [
            Unreadable.of(str(name), error, is_table=True)
            for name, error in found.unreadable.items()
        ]
        jobs = read_jobs(lake, declared)
        streams = read_streams(
            lake,
            declared.streams,
            unreadable={each.name for each in unreadable},
            of_flink=jobs.tables,
        )
        ties = ties_of(lake)
        paimon = read_paimon(settings, ties.tokens)
        try:
            refused = refused_by_stream(lake, declared.streams)
        except LakeError as error:
            refused: Mapping[str, Mapping[str, int]] = {}
            if dead_letters.TABLE not in found.unreadable:
                unreadable.append(Unreadable.of(str(dead_letters.TABLE), error, is_table=True))
        online: tuple[PublishedView, ...] = ()
        try:
            online = published_views(settings)
        except LakeError as error:
            unreadable.append(Unreadable.of(ONLINE_STORE, error))
        lag = lags(lake)
        edges = (*table_edges(lake, lag=lag), *online_edges(lake, online, lag=lag))
        newest = {lock.name: lock.version for lock in list_datasets(lake)}
        scored = map(health_of, found.states)
        standing = Standing(
            problems=declared.problems,
            unreadable=(
                *unreadable,
                *streams.unreadable,
                *jobs.unreadable,
                *paimon.unreadable,
            ),
            streams=with_refused(streams.streams, refused),
            jobs=jobs.jobs,
            paimon=paimon.tables,
            imports=paimon.imports,
            letters=of_others(streams.streams, refused),
            failed_checks=tuple(failed_checks(lake.registry)),
            edges=between(
                followed(edges, jobs.tables),
                {str(name) for name in lake.names()},
            ),
            sample_sets={str(each.table): each.name for each in declared.sample_sets.values()},
            unfit=unfit((str(each.table), each.score, each.worst) for each in scored),
        )
        return LakeRead(
            standing=standing,
            plan=_plan(found, paimon.tables, ties, settings),
            online=online,
            versions=tuple(f"{name} v{version}" for name, version in newest.items()),
        )


def _plan(
    found: Survey, tables: Sequence[PaimonSummary], ties: Ties, settings: Settings
) -> MaintenancePlan:
    now = dt.datetime.now(dt.UTC)
    others = paimon_actions(
        tables,
        ties,
        has_flink=settings.flink is not None,
        keep=settings.snapshots_kept,
        now_ms=round(now.timestamp() * 1000),
    )
    return plan_maintenance(found.states, others=others, now=now)
