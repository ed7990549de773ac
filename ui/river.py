"""The lake as one picture: what flows through which stage, how fresh it is; pure."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.standing.causes import causes, direct_lags
from headrace.standing.finding import Finding
from headrace.standing.flow import ONLINE_STORE
from ui.facts import DEAD_LETTERS, LakeFacts, TableFacts
from ui.wording import age, count, rows_text

State = Literal["failed", "behind", "fresh"]
StageName = Literal[
    "sources", "raw", "staging", "features", "samples", "versions", "models", "online"
]
STAGES: tuple[StageName, ...] = (
    "sources", "raw", "staging", "features", "samples", "versions", "models", "online"
)  # fmt: skip
_STATES: tuple[State, ...] = ("failed", "behind", "fresh")  # worst first
_OF_NAMESPACE: Mapping[str, StageName] = {
    "raw": "raw",
    "staging": "staging",
    "features": "features",
    "samples": "samples",
}
_PAGE_OF: Mapping[StageName, str] = {"sources": "ingest", "versions": "versions"}


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One source, table, version, model or view on the way; `page` and `query` open its page.

    `lag` says how far it is behind, or how fresh it is. `fault` is what a finding says about it.
    """

    name: str
    title: str
    state: State
    lag: str
    page: str
    query: Mapping[str, str]
    rows: int | None = None
    rows_today: int = 0
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the flow, its stops worst first."""

    name: StageName
    stops: tuple[Stop, ...]

    @property
    def state(self) -> State | None:
        """The worst state of its stops; None without any."""
        present = {stop.state for stop in self.stops}
        return next((state for state in _STATES if state in present), None)

    @property
    def rows_today(self) -> int:
        """Rows that its stops gained since midnight UTC."""
        return sum(stop.rows_today for stop in self.stops)

    @property
    def bad(self) -> int:
        """How many of its stops are not fresh."""
        return sum(stop.state != "fresh" for stop in self.stops)


def river(lake: LakeFacts, found: Sequence[Finding], *, now: dt.datetime) -> tuple[Stage, ...]:
    """Put all of a lake into the stages of its flow, in their order; empty stages are kept."""
    stops: dict[StageName, list[Stop]] = {name: [] for name in STAGES}
    painter = _Painter(lake, found, now=now)
    for stage, stop in (
        *painter.sources(),
        *painter.tables(),
        *painter.versions(),
        *painter.models(),
        *painter.online(),
    ):
        stops[stage].append(stop)
    return tuple(
        Stage(
            name=name,
            stops=tuple(
                sorted(stops[name], key=lambda stop: (_STATES.index(stop.state), not stop.fault))
            ),
        )
        for name in STAGES
    )


class _Painter:
    """Gives each stop its state and its fault."""

    def __init__(self, lake: LakeFacts, found: Sequence[Finding], *, now: dt.datetime) -> None:
        self._lake, self._now = lake, now
        self._lags = direct_lags(lake.flow)
        self._behind = {name for cause in causes(lake.flow) for name in cause.affected}
        self._failed: dict[str, Finding] = {}
        self._warned: dict[str, Finding] = {}
        for each in reversed(found):  # the first of several findings stays
            for name in each.concerns:
                (self._failed if each.breaks else self._warned)[name] = each

    def sources(self) -> Iterator[tuple[StageName, Stop]]:
        for stream in self._lake.streams:
            failure = self._failed.get(stream.stream)
            state: State = "fresh"
            lag = "all taken"
            if stream.is_of_flink:
                lag = "taken by Flink"
            elif stream.lag:
                state, lag = "behind", f"{count(stream.lag, 'record')} behind"
            elif stream.waiting and stream.lag is None:
                state, lag = "behind", f"{count(stream.waiting, stream.parts)} waiting"
            elif stream.waiting is None and stream.lag is None:
                lag = "unknown"
            if stream.missing:
                state, lag = "behind", "no files"
            fault = failure or self._warned.get(stream.stream)
            yield (
                "sources",
                Stop(
                    name=stream.source,
                    title=stream.source,
                    state="failed" if failure else state,
                    lag=lag,
                    page="ingest",
                    query={"stream": stream.stream},
                    fault=fault.text if fault and not stream.missing else "",
                ),
            )

    def tables(self) -> Iterator[tuple[StageName, Stop]]:
        for table in self._lake.tables:
            stage = self._stage_of(table.name)
            if stage is not None:
                yield stage, self._table(table)
        for each in self._lake.unreadable:
            stage = self._stage_of(each.name)
            if stage is not None:
                yield (
                    stage,
                    Stop(
                        name=each.name,
                        title=_short(each.name),
                        state="failed",
                        lag="cannot be read",
                        page="tables",
                        query={"table": each.name},
                        fault=each.text,
                    ),
                )

    def versions(self) -> Iterator[tuple[StageName, Stop]]:
        newest = {version.name: version for version in self._lake.versions}
        for version in newest.values():
            failure = self._failed.get(f"datasets.{version.name}")
            yield (
                "versions",
                Stop(
                    name=version.title,
                    title=version.title,
                    state="failed" if failure else "fresh",
                    lag=self._age(version.created_at),
                    page="versions",
                    query={"version": version.title},
                    rows=version.rows,
                    fault=failure.text if failure else "",
                ),
            )

    def models(self) -> Iterator[tuple[StageName, Stop]]:
        published = {version.name: version.version for version in self._lake.versions}
        newest = {model.dataset: model for model in self._lake.models}
        for model in newest.values():
            latest = published.get(model.dataset)
            is_old = latest is not None and model.version != latest
            yield (
                "models",
                Stop(
                    name=f"model {model.folder}",
                    title=model.title,
                    state="behind" if is_old else "fresh",
                    lag=f"v{latest} is published" if is_old else self._age(model.trained_at),
                    page="versions",
                    query={} if model.version is None else {"version": model.title},
                ),
            )

    def online(self) -> Iterator[tuple[StageName, Stop]]:
        if self._lake.no_online is not None:
            yield (
                "online",
                Stop(
                    name=ONLINE_STORE,
                    title=ONLINE_STORE,
                    state="failed",
                    lag="cannot be read",
                    page="serving",
                    query={},
                    fault=self._lake.no_online.text,
                ),
            )
        for view in self._lake.online:
            is_behind = bool(view.behind) or view.table in self._behind
            lag = self._age(view.published_at)
            if is_behind:
                lag = count(view.behind, "commit") + " behind" if view.behind else "waits upstream"
            yield (
                "online",
                Stop(
                    name=f"{ONLINE_STORE} {view.view}",
                    title=_short(view.view),
                    state="behind" if is_behind else "fresh",
                    lag=lag,
                    page="serving",
                    query={},
                    rows=view.rows,
                ),
            )

    def _table(self, table: TableFacts) -> Stop:
        failure, warning = self._failed.get(table.name), self._warned.get(table.name)
        fault = failure or (None if table.name in self._behind else warning)
        state: State = "behind" if table.name in self._behind else "fresh"
        return Stop(
            name=table.name,
            title=_short(table.name),
            state="failed" if failure else state,
            lag=self._lag(table),
            page="tables",
            query={"table": table.name},
            rows=table.rows,
            rows_today=self._lake.rows_today.get(table.name, 0),
            fault=fault.text if fault else "",
        )

    def _lag(self, table: TableFacts) -> str:
        lacks = self._lags.get(table.name)
        if lacks:
            return f"{count(sum(lacks.values()), 'commit')} behind"
        if table.name in self._behind:
            return "waits upstream"
        return self._age(table.committed_at)

    def _stage_of(self, name: str) -> StageName | None:
        if name == DEAD_LETTERS:
            return None
        if name in self._lake.sample_sets:
            return "samples"
        return _OF_NAMESPACE.get(name.partition(".")[0])

    def _age(self, at: dt.datetime | None) -> str:
        return age(at, now=self._now)


def stage_text(stage: Stage) -> str:
    """Say in one line how a stage is: `3 of 4 behind`, `4 fresh`, `none`."""
    if not stage.stops:
        return "none"
    if not stage.bad:
        return f"{len(stage.stops):,} fresh"
    worst = "failed" if stage.state == "failed" else "behind"
    return f"{stage.bad:,} of {len(stage.stops):,} {worst}"


def today_text(stage: Stage) -> str:
    """Say what a stage gained today; empty for nothing."""
    return f"+{rows_text(stage.rows_today)} today" if stage.rows_today > 0 else ""


def _short(table: str) -> str:
    return table.partition(".")[2] or table
