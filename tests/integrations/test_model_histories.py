"""Whatever happens between runs, a model's table holds what its recorded inputs give when built at once."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.integrations.rebuild import RebuildPlan, last_build
from headrace.maintenance.compaction.compact import compact
from tests.conftest import ROOT
from tests.integrations.driven import BY_DAY, EVENTS, Driven, Model, appends, in_days, merges
from tests.processes import CONTEXT

Row = tuple[int, int, int, int]  # seq, key, n, day
Step = tuple[str, str, tuple[tuple[int, int, int], ...]]


def trailing(plan: RebuildPlan) -> str:
    """The sum of a day and the one before, which reaches one day."""
    read = in_days("event_time", plan, "read")
    return f"""
        select event_time, key, sum(n)::bigint as total from (
            select date_trunc('day', event_time) as event_time, key, n from raw.events where {read}
            union all
            select date_trunc('day', event_time) + interval 1 day, key, n from raw.events where {read}
        ) where {in_days("event_time", plan, "write")} group by event_time, key
    """


def whole(_: RebuildPlan) -> str:
    return "select key, sum(n)::bigint as total, count(*) as events from raw.events group by key"


MODELS = {
    model.strategy: replace(model, name="out.m")
    for model in (
        Model(strategy="table", sql=whole),
        Model(strategy="insert_overwrite", sql=trailing, partition_by=BY_DAY, reach_days=1),
        appends(),
        merges(),
    )
}
# a failure is shown as it was found: shrinking one takes minutes
_QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
_ALL = RebuildPlan(mode="all", reason="", inputs={})
_EVENTS = st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(0, 3))
_STEPS = st.tuples(
    st.sampled_from(
        ["run", "run", "fails", "refresh", "redefine", "race", "race newer", "outdated", "compact"]
    ),
    st.sampled_from(["raw.events", "out.m"]),
    st.lists(_EVENTS, max_size=3).map(tuple),
)


class History:
    """One lake, one model, and what is done to them."""

    def __init__(self, lake: Lake, model: Model) -> None:
        self.driven, self.model = Driven(lake), model
        self._seq = 0

    def take(self, step: Step) -> None:
        what, table, events = step
        before = self._metadata()
        if what == "outdated":  # a run that began before events came and another run saw them
            began = self.driven.pin()
            self.add(events)
            self.driven.other().run(self.model)
            if began is not None:
                self.driven.run(self.model, pinned=began)
            return
        self.add(events)
        if what == "fails":
            broken = replace(self.model, sql=self._broken, code=f"{self.model.code}-broken")
            try:
                self.driven.run(broken)
            except duckdb.Error:
                assert self._metadata() == before
        elif what == "compact":
            if self.driven.lake.exists(table):
                compact(self.driven.lake.table(table))
        else:
            self._run(what, events)

    def _run(self, what: str, events: tuple[tuple[int, int, int], ...]) -> None:
        def other_run() -> None:
            if what == "race newer":
                self.add(events)
            self.driven.other().run(self.model)

        if what == "redefine":
            self.model = replace(self.model, code=f"{self.model.code}+")
        between: Callable[[], object] = other_run if what.startswith("race") else lambda: None
        self.driven.run(self.model, full_refresh=what == "refresh", before_commit=between)

    def add(self, events: tuple[tuple[int, int, int], ...]) -> None:
        rows: list[Row] = []
        for key, n, day in events:
            self._seq += 1
            rows.append((self._seq, key, n, day))
        if rows:
            self.driven.add(*rows)

    def check(self) -> None:
        """The table holds what its recorded inputs give, and says so."""
        lake = self.driven.lake
        built = last_build(lake, self.model.target)
        if built is None:
            assert not lake.exists("out.m")
            return
        snapshot_id = built.inputs.get(str(EVENTS))
        table = lake.table(EVENTS)
        version = table.head() if snapshot_id is None else table.at(snapshot_id=snapshot_id)
        rows = version.to_arrow()
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'; create schema raw; create schema out")
            connection.register("seen", rows if snapshot_id is not None else rows.slice(0, 0))
            connection.execute("create view raw.events as from seen")
            expected = connection.sql(self.model.sql(_ALL)).to_arrow_table().to_pylist()
        assert self.driven.rows() == sorted((tuple(row.values()) for row in expected), key=repr)

    def _broken(self, plan: RebuildPlan) -> str:
        return f"select * from ({self.model.sql(plan)}) where error('no') is null"

    def _metadata(self) -> object:
        lake = self.driven.lake
        return lake.table("out.m").iceberg().metadata if lake.exists("out.m") else None


def follow(strategy: str, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"HEADRACE_STATE_DIR": str(Path(folder) / "state")}
        with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
            history = History(lake, MODELS[strategy])
            for step in steps:
                history.take(step)
                history.check()
            history.driven.run(history.model)
            history.check()
            # and it is up to date: building everything again changes no row
            once = history.driven.rows()
            assert history.driven.run(history.model).code == "unchanged"
            history.driven.run(history.model, full_refresh=True)
            assert history.driven.rows() == once


@limits(max_examples=4, phases=_QUICK, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategy=st.sampled_from(sorted(MODELS)), steps=st.lists(_STEPS, min_size=3, max_size=5))
def test_a_table_holds_what_its_inputs_give_whatever_happened(
    strategy: str, steps: list[Step]
) -> None:
    follow(strategy, steps)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", MODELS)
@limits(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(_STEPS, min_size=3, max_size=14))
def test_a_table_holds_what_its_inputs_give_after_many_histories(
    strategy: str, steps: list[Step]
) -> None:
    follow(strategy, steps)


def _run_often(settings: Settings, strategy: str, begin: float) -> None:
    with Lake.open(settings) as lake:
        time.sleep(max(0.0, begin - time.time()))
        for _ in range(12):
            Driven(lake).run(MODELS[strategy])


def _add_often(settings: Settings, begin: float) -> None:
    with Lake.open(settings) as lake:
        driven = Driven(lake)
        time.sleep(max(0.0, begin - time.time()))
        for seq in range(2, 26):
            driven.add((seq, seq % 3, seq, seq % 4))


@pytest.mark.proof
@pytest.mark.parametrize("strategy", MODELS)
def test_processes_that_build_one_model_at_once_neither_lose_nor_double(
    settings: Settings, strategy: str
) -> None:
    with Lake.open(settings) as lake:
        driven = Driven(lake)
        driven.add((1, 1, 1, 1))
        begin = time.time() + 5
        work = [(_run_often, (settings, strategy, begin))] * 3 + [(_add_often, (settings, begin))]
        processes = [CONTEXT.Process(target=each, args=arguments) for each, arguments in work]
        for process in processes:
            process.start()
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0] * 4
        driven.run(MODELS[strategy])
        once = driven.rows()
        driven.run(MODELS[strategy], full_refresh=True)
        assert driven.rows() == once
