"""Clean-up beside writers: nothing in flight is removed, and in the end nothing unneeded is left."""

import os
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import LakeError
from headrace.maintenance.cleanup import cleanup
from headrace.tables import intents
from headrace.tables.intents import Intents
from tests.maintenance.cleanup.cleaning import keeping
from tests.maintenance.cleanup.schedules import Schedule
from tests.tables.factories import events_table

pytestmark = pytest.mark.slow

_SHORT, _LONG = 5, 1_000
_TRIES_MAX = 60  # of schedules, until one shows a planted fault
_ACTORS = 10


@contextmanager
def lake_of(settings: Settings) -> Iterator[Lake]:
    with Lake.open(keeping(settings, 3)) as lake:
        yield lake


def run_one(lake: Lake, seed: int, *, actors: int = _ACTORS, only: Collection[str] = ()) -> None:
    table = events_table(lake, f"raw.s{seed}")
    Schedule(table=table, chance=random.Random(seed)).run(actors=actors, only=only)
    lake.catalog.drop_table(str(table.name))  # or every later plan reads it as well


def test_a_few_schedules_lose_nothing_and_leave_nothing(settings: Settings) -> None:
    with lake_of(settings) as lake:
        for seed in range(_SHORT):
            run_one(lake, seed)


@pytest.mark.proof
@pytest.mark.timeout(7_200)
def test_a_thousand_schedules_lose_nothing_and_leave_nothing(settings: Settings) -> None:
    with lake_of(settings) as lake:
        for seed in range(int(os.environ.get("HEADRACE_SCHEDULES", _LONG))):
            run_one(lake, seed)


def _nobody_writes(patch: pytest.MonkeyPatch) -> None:
    """Take no notice of announcements."""
    nobody = Intents(live=frozenset(), dead=frozenset())
    patch.setattr(intents, "unfinished", lambda *_, **__: nobody)


def _nobody_reads(patch: pytest.MonkeyPatch) -> None:
    """Take no notice of versions that were current a moment ago."""
    mark = cleanup.mark_table
    patch.setattr(cleanup, "mark_table", lambda *a, **_: mark(*a, cutoff_ns=1 << 62))
    patch.setattr(cleanup, "mark_versions", lambda *_, **__: None)


def _does_not_look_again(patch: pytest.MonkeyPatch) -> None:
    """Apply what was planned, whatever happened since."""
    survey, made = cleanup._survey, []

    def once(*arguments: object, only: object = None, **named: object) -> object:
        if only is None:
            made.append(survey(*arguments, only=only, **named))
        wanted = [
            each for each in made if only is None or {f.path for f in each.files} >= set(only)
        ]
        return wanted[-1]

    patch.setattr(cleanup, "_survey", once)


@pytest.mark.parametrize(
    ("fault", "only", "first_seed"),
    [  # those among whom it shows soon, and from where on
        (_nobody_writes, ("append", "overwrite", "clean_up"), 0),
        (_nobody_reads, ("overwrite", "expire", "read", "clean_up"), 45),
        (_does_not_look_again, ("append", "commit_twice", "clean_up"), 0),
    ],
)
def test_schedules_show_a_fault_in_what_clean_up_rests_on(
    settings: Settings,
    fault: Callable[[pytest.MonkeyPatch], None],
    only: Collection[str],
    first_seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with lake_of(settings) as lake, pytest.raises((AssertionError, LakeError)):
        for seed in range(first_seed, first_seed + _TRIES_MAX):
            run_one(lake, seed, actors=3 * _ACTORS, only=only)
