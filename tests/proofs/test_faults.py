"""Every call below a table fails once, before and after its effect, or kills: nothing is half done."""

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.crash_points import CRASH_POINTS, crash_point
from headrace.errors import (
    CatalogBusyError,
    CommitConflictError,
    FencedError,
    LakeError,
    StorageError,
)
from tests.amounts import seed_of_today
from tests.conftest import ROOT
from tests.processes import CONTEXT
from tests.proofs.invariants import Facts, engine_rows
from tests.proofs.jobs import JOBS, TABLE, Job
from tests.proofs.layers import MODES, READS, Calls, Mode, faulty
from tests.proofs.saved import Saved, saved_lake
from tests.waiting import WAIT_S

KILLED = -9
_NOTHING_CHANGED = (CommitConflictError, CatalogBusyError, FencedError, StorageError)
_BY_NAME = {job.name: job for job in JOBS}
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One call that goes wrong, and how."""

    at: int
    name: str
    mode: Mode


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A job that nothing disturbed: what it left, and where it could have been disturbed."""

    after: Facts
    strikes: tuple[Strike, ...]
    passages: tuple[str, ...]  # crash points, as `crash_point` wants them


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("faults") / "state")}
    return saved_lake(Settings.load(env=env, path=ROOT / "lake" / "lake.toml"))


@pytest.fixture(scope="module")
def plain(saved: Saved) -> dict[str, Plain]:
    return {job.name: _undisturbed(saved, job) for job in JOBS}


@each_job
def test_any_call_may_fail_or_kill(saved: Saved, plain: dict[str, Plain], job: Job) -> None:
    chance = random.Random(f"{job.name} {seed_of_today()}")
    undisturbed = plain[job.name]
    if undisturbed.passages and chance.random() < 0.5:
        _survives_crash(saved, job, undisturbed.after, chance.choice(undisturbed.passages))
    else:
        _survives(saved, job, undisturbed.after, chance.choice(undisturbed.strikes))


@pytest.mark.proof
@pytest.mark.timeout(7_200)
@each_job
def test_every_call_may_fail_or_kill(saved: Saved, plain: dict[str, Plain], job: Job) -> None:
    for strike in plain[job.name].strikes:
        _survives(saved, job, plain[job.name].after, strike)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@each_job
def test_a_kill_at_every_crash_point_is_made_up_for_by_the_next_run(
    saved: Saved, plain: dict[str, Plain], job: Job
) -> None:
    for passage in plain[job.name].passages:
        _survives_crash(saved, job, plain[job.name].after, passage)


def test_the_jobs_pass_every_crash_point_of_tables_and_maintenance(
    plain: dict[str, Plain],
) -> None:
    elsewhere = (
        *("datasets.", "ingest.", "move.", "paimon.", "relocate.", "replay.", "reset.", "retry."),
        *("samples.", "serving.", "upkeep."),
    )
    wanted = {point for point in CRASH_POINTS if not point.startswith(elsewhere)}
    assert {each.partition(":")[0] for job in plain.values() for each in job.passages} == wanted


def test_the_engine_reads_what_a_killed_compaction_left(
    saved: Saved, plain: dict[str, Plain]
) -> None:
    for passage in plain["compaction"].passages[:2]:
        saved.restore()
        assert _in_a_process(saved, _BY_NAME["compaction"], crash_at=passage) == KILLED
        with saved.opened() as table:
            assert engine_rows(table) == saved.before.rows


def _undisturbed(saved: Saved, job: Job) -> Plain:
    saved.restore()
    with Lake.open(saved.settings) as lake, faulty(lake, Calls()) as calls:
        table = lake.table(TABLE)
        calls.begin()
        names = _crash_points_in(lambda: job.run(table))
    after = saved.check()
    assert after.rows == job.effect(saved.before.rows)
    return Plain(
        after=after,
        # reading has no effect, so there is no state after it
        strikes=tuple(
            Strike(at=at, name=name, mode=mode)
            for at, name in enumerate(calls.made)
            for mode in (MODES if name not in READS else MODES[:1])
        ),
        passages=tuple(f"{name}:{names[: at + 1].count(name)}" for at, name in enumerate(names)),
    )


def _crash_points_in(run: Callable[[], object]) -> list[str]:
    names: list[str] = []

    def look(frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code is crash_point.__code__:
            names.append(frame.f_locals["name"])

    before = sys.gettrace()
    sys.settrace(look)
    try:
        run()
    finally:
        sys.settrace(before)
    return names


def _survives(saved: Saved, job: Job, after: Facts, strike: Strike) -> None:
    saved.restore()
    ended: LakeError | int | None
    if strike.mode.startswith("kill"):
        code = _in_a_process(saved, job, strike=strike)
        assert code in (0, KILLED), f"{strike} ended the process with {code}"
        ended = None if code == 0 else KILLED
    else:
        ended = _ended(saved, job, strike)
    _judge(saved, job, after, ended=ended, what=str(strike))


def _survives_crash(saved: Saved, job: Job, after: Facts, passage: str) -> None:
    saved.restore()
    code = _in_a_process(saved, job, crash_at=passage)
    assert code == KILLED, f"{passage} ended the process with {code}"
    _judge(saved, job, after, ended=KILLED, what=passage)


def _ended(saved: Saved, job: Job, strike: Strike) -> LakeError | None:
    """Run a job that meets a fault, and return the error it ended with; it must be named."""
    with Lake.open(saved.settings) as lake, faulty(lake, _calls(strike)) as calls:
        table = lake.table(TABLE)
        calls.begin()
        try:
            job.run(table)
        except LakeError as error:
            return error
    return None


def _judge(
    saved: Saved, job: Job, after: Facts, *, ended: LakeError | int | None, what: str
) -> None:
    facts = saved.check()
    if ended is None:
        assert facts == after, f"{what} was not noticed, and the job is not done"
    elif isinstance(ended, _NOTHING_CHANGED) and not job.goes_on:
        assert facts.seen == saved.before.seen, f"{what}: {ended}"
    assert facts.seen in (saved.before.seen, after.seen), what
    with saved.opened() as table:
        job.run(table)
    assert saved.check() == after, f"{what}: the next run did not complete the job"


def _in_a_process(
    saved: Saved, job: Job, *, strike: Strike | None = None, crash_at: str = ""
) -> int | None:
    process = CONTEXT.Process(target=_run, args=(saved.settings, job.name, strike, crash_at))
    process.start()
    process.join(timeout=WAIT_S)
    return process.exitcode


def _run(settings: Settings, name: str, strike: Strike | None, crash_at: str) -> None:
    with Lake.open(settings) as lake, faulty(lake, _calls(strike)) as calls:
        table = lake.table(TABLE)
        if crash_at:
            os.environ["HEADRACE_CRASH_AT"] = crash_at
        calls.begin()
        _BY_NAME[name].run(table)


def _calls(strike: Strike | None) -> Calls:
    return Calls() if strike is None else Calls(strike_at=strike.at, mode=strike.mode)
