"""The power fails during and after every job: what was acknowledged is there, the rest can be redone."""

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CorruptFileError, LakeError
from headrace.storage import durable
from tests.conftest import ROOT
from tests.proofs import operations as ops
from tests.proofs.disk import Change, Disk, Fate
from tests.proofs.invariants import Facts, facts_of
from tests.proofs.jobs import JOBS, TABLE, Job
from tests.proofs.layers import READS, Calls, faulty
from tests.proofs.saved import Saved, saved_lake
from tests.tables.factories import add, events_table, ids_of

_FATES_LONG, _ORDERS_LONG = 10, 20
_SYNC_FULL = 2  # what `pragma synchronous` says
_BY_NAME = {job.name: job for job in JOBS}
# the others differ in what they write, not in how; the long form has them all
_SHORT = [
    job
    for job in JOBS
    if job.name not in {"overwrite_partitions", "evolve", "tag", "branch", "lease"}
]
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A job that ran to its end; `cuts` are what it would have left after so many changes."""

    calls: tuple[str, ...]
    after: Facts
    end: Path
    cuts: Mapping[int, Path]

    @property
    def changes(self) -> tuple[str, ...]:
        """The calls that had an effect; how many reads lie between them depends on the threads."""
        return tuple(call for call in self.calls if call not in READS)


class Cuts(Calls):
    """Builds what a power cut after some changes would leave; the program itself goes on."""

    def __init__(self, disk: Disk, to: Path, fates: Mapping[int, Fate]) -> None:
        super().__init__()
        self._disk, self._to, self._fates = disk, to, fates
        self.cuts: dict[int, Path] = {}

    def call(
        self, name: str, effect: Callable[[], object], error: Callable[[], Exception]
    ) -> object:
        at = sum(made not in READS for made in self.made)
        if at in self._fates and at not in self.cuts:
            self.cuts[at] = self._to / str(at)
            self._disk.cut(self.cuts[at], self._fates[at])
        return super().call(name, effect, error)


def nothing(_: Change) -> bool:
    """Lose every change that was not synced."""
    return False


def removals(change: Change) -> bool:
    """Lose what was made, but not that something was removed."""
    return change == "removed"


def any_of_them(chance: random.Random) -> Fate:
    """Lose some changes."""
    return lambda _: chance.random() < 0.5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("cuts") / "state")}
    return saved_lake(Settings.load(env=env, path=ROOT / "lake" / "lake.toml"))


@pytest.mark.parametrize("job", _SHORT, ids=lambda job: job.name)
def test_what_a_job_did_survives_a_power_cut_after_it(
    saved: Saved, job: Job, tmp_path: Path
) -> None:
    _survives_at_the_end(saved, job, tmp_path / "cuts", nothing)


@pytest.mark.parametrize("name", ["append", "compaction"])
def test_a_power_cut_inside_of_a_job_is_made_up_for_by_the_next_run(
    saved: Saved, name: str, tmp_path: Path
) -> None:
    job, chance = _BY_NAME[name], random.Random(name)
    changes = _run(saved, job, tmp_path / "plain").changes
    cuts = {chance.randrange(1, len(changes)): any_of_them(chance)}
    _survives_inside(saved, job, tmp_path / "cuts", cuts)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@each_job
def test_what_a_job_did_survives_whatever_else_a_power_cut_leaves(
    saved: Saved, job: Job, tmp_path: Path
) -> None:
    chance = random.Random(job.name)
    for at, fate in enumerate([nothing, removals, *[any_of_them(chance)] * _FATES_LONG]):
        _survives_at_the_end(saved, job, tmp_path / str(at), fate)


@pytest.mark.proof
@pytest.mark.timeout(2_400)
@each_job
def test_a_power_cut_after_every_change_is_made_up_for_by_the_next_run(
    saved: Saved, job: Job, tmp_path: Path
) -> None:
    chance = random.Random(job.name)
    changes = range(1, len(_run(saved, job, tmp_path / "plain").changes))
    for at, fate in enumerate([nothing, removals, any_of_them(chance)]):
        _survives_inside(saved, job, tmp_path / str(at), dict.fromkeys(changes, fate))


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", range(_ORDERS_LONG))
def test_jobs_in_any_order_keep_what_each_did(saved: Saved, seed: int, tmp_path: Path) -> None:
    chance, ran = random.Random(seed), list[tuple[Job, Facts]]()
    # overwriting all takes rows from the stream, after which its count and offset differ
    jobs = [job for job in JOBS if job.name != "overwrite"]
    with _cuttable(saved) as (disk, lake):
        table = lake.table(TABLE)
        for at, job in enumerate(chance.choices(jobs, k=len(jobs))):
            ops.age_files(table)
            with contextlib.suppress(LakeError):  # some orders make no sense
                job.run(table)
            disk.cut(tmp_path / str(at), chance.choice([nothing, removals, any_of_them(chance)]))
            ran.append((job, facts_of(table)))
    for at, (job, after) in enumerate(ran):
        _boot(saved, tmp_path / str(at))
        assert saved.check() == after, f"{job.name} after {[each.name for each, _ in ran[:at]]}"


@pytest.mark.parametrize("forgotten", [Path.is_file, Path.is_dir], ids=["contents", "names"])
def test_a_power_cut_harms_a_program_that_does_not_sync(
    saved: Saved, forgotten: Callable[[Path], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    force = durable._force

    def force_some(path: str) -> None:
        if not forgotten(Path(path)):
            force(path)

    monkeypatch.setattr(durable, "_force", force_some)  # the rule is broken on purpose
    _is_harmed(saved, _BY_NAME["append"], tmp_path / "cuts")


def test_a_power_cut_harms_a_program_that_does_not_sync_the_folders_above(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "keep_folder", lambda _: None)  # the rule is broken on purpose
    _is_harmed(saved, _BY_NAME["create"], tmp_path / "cuts")


def test_a_lake_made_a_moment_ago_survives_with_its_first_rows(
    settings: Settings, tmp_path: Path
) -> None:
    disk, cut = Disk(tmp_path), tmp_path.with_name("cut")
    with disk.watched(), Lake.open(settings) as lake:
        add(events_table(lake), [1, 2])
        disk.cut(cut, nothing)
    shutil.rmtree(tmp_path)
    cut.rename(tmp_path)
    with Lake.open(settings) as lake:
        assert ids_of(lake.table(TABLE)) == [1, 2]


def test_both_databases_sync_each_commit(lake: Lake) -> None:
    for engine in (lake.catalog.engine, lake.registry.engine):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("pragma synchronous").scalar() == _SYNC_FULL


def _run(
    saved: Saved, job: Job, to: Path, fates: Mapping[int, Fate] = {}, *, end: Fate = nothing
) -> Ran:
    to.mkdir()
    with _cuttable(saved) as (disk, lake), faulty(lake, calls := Cuts(disk, to, fates)):
        table = lake.table(TABLE)
        calls.begin()
        job.run(table)
        made = tuple(calls.made)
        disk.cut(to / "end", end)
        after = facts_of(table)
    return Ran(calls=made, after=after, end=to / "end", cuts=calls.cuts)


def _is_harmed(saved: Saved, job: Job, to: Path) -> None:
    _boot(saved, _run(saved, job, to).end)
    with Lake.open(saved.settings) as lake, pytest.raises(CorruptFileError):
        for name in lake.names():
            lake.table(name).head().to_arrow()


@contextlib.contextmanager
def _cuttable(saved: Saved) -> Iterator[tuple[Disk, Lake]]:
    saved.restore()
    _forget_what_was_synced()
    disk = Disk(saved.settings.state_dir)
    with disk.watched(), Lake.open(saved.settings) as lake:
        yield disk, lake


def _survives_at_the_end(saved: Saved, job: Job, to: Path, fate: Fate) -> None:
    ran = _run(saved, job, to, end=fate)
    _boot(saved, ran.end)
    assert saved.check() == ran.after


def _survives_inside(saved: Saved, job: Job, to: Path, fates: Mapping[int, Fate]) -> None:
    ran = _run(saved, job, to, fates)
    assert ran.cuts
    for at, cut in ran.cuts.items():
        what = f"after {ran.changes[at - 1]}, change {at}"
        _boot(saved, cut)
        assert saved.check().seen in (saved.before.seen, ran.after.seen), what
        with saved.opened() as table:
            job.run(table)
            assert facts_of(table) == ran.after, f"{what}: the next run did not complete the job"


def _boot(saved: Saved, left: Path) -> None:
    """Start anew with what a cut left; the processes of then are gone."""
    shutil.rmtree(saved.settings.state_dir)
    left.rename(saved.settings.state_dir)
    _forget_what_was_synced()
    registry = sqlite3.connect(saved.settings.state_dir / "registry.db")
    with registry:
        registry.execute("delete from writes")
    registry.close()


def _forget_what_was_synced() -> None:
    durable._keep.cache_clear()  # as a new process
