"""The truth against plain Python: every impression recomputed from the written files."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.simulate.plan import Rates, SimulationPlan
from headrace.simulate.run import simulate
from headrace.simulate.truth import ServingMemory
from tests.amounts import examples
from tests.simulate.landed import Record, records

TTL = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Folder:
    """The truth, and what the files hold: sound records by what they are about."""

    truth: list[dict[str, Any]]
    shown: dict[str, dict[str, Any]]
    states: dict[int, list[tuple[datetime, datetime, int, dict[str, Any]]]]
    clicks: dict[str, list[datetime]]
    watches: dict[str, list[datetime]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Nine days, so that rows outlive their TTL; more goes wrong than usual."""
    path = tmp_path_factory.mktemp("simulated") / "lakehouse"
    rates = Rates(duplicate_ppm=50_000, late_ppm=100_000, malformed_ppm=10_000)
    simulate(path, SimulationPlan(impressions=30_000, seed=23, days=9, rates=rates))
    shown: dict[str, dict[str, Any]] = {}
    for fields in _sound(records(path, "impressions")):
        shown.setdefault(fields["impression_id"], fields)
    states = defaultdict(list)
    for sequence, fields in enumerate(_sound(records(path, "user_state"))):
        states[fields["user_id"]].append((fields["as_of"], fields["received_at"], sequence, fields))
    clicks, watches = defaultdict(list), defaultdict(list)
    for fields in _sound(records(path, "clicks")):
        clicks[fields["impression_id"]].append(fields["clicked_at"])
    for fields in _sound(records(path, "watches")):
        watches[fields["impression_id"]].append(fields["watched_at"])
    truth = pq.read_table(path / "truth" / "impressions.parquet").to_pylist()
    return Folder(truth, shown, states, clicks, watches)


def _sound(found: Iterable[Record]) -> list[dict[str, Any]]:
    return [record.fields for record in found if record.fault is None]


def test_what_serving_knew_is_the_newest_row_known_before_the_impression(folder: Folder) -> None:
    for row in folder.truth:
        moment = row["event_time"]
        known = [
            state
            for state in folder.states.get(row["user_id"], ())
            if state[0] < moment and state[1] < moment
        ]
        newest = max(known, key=lambda state: state[:3], default=None)
        if newest is None or newest[0] < moment - TTL:
            expected = (None, None, None, None)
        else:
            fields = newest[3]
            expected = (*newest[:2], fields["sessions_7d"], fields["watch_seconds_7d"])
        names = ("event_time", "known_at")
        got = (
            *(row[f"user_state__{name}"] for name in names),
            row["sessions_7d"],
            row["watch_seconds_7d"],
        )
        assert got == expected, row["impression_id"]


def test_impressions_are_the_first_sound_copies(folder: Folder) -> None:
    told = {row["impression_id"]: row for row in folder.truth}
    assert told.keys() == folder.shown.keys()
    for name, fields in folder.shown.items():
        assert told[name]["event_time"] == fields["shown_at"]
        assert told[name]["known_at"] == fields["received_at"]
        assert told[name]["user_id"] == fields["user_id"]


def test_truth_is_in_the_order_of_events(folder: Folder) -> None:
    moments = [row["event_time"] for row in folder.truth]
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("label", "window"),
    [("click", timedelta(minutes=30)), ("long_watch", timedelta(hours=4))],
)
def test_a_label_is_its_first_event_inside_the_window(
    folder: Folder, label: str, window: timedelta
) -> None:
    events = folder.clicks if label == "click" else folder.watches
    for row in folder.truth:
        moment = row["event_time"]
        inside = [
            at for at in events.get(row["impression_id"], ()) if moment <= at < moment + window
        ]
        assert row[label] == (1 if inside else 0)
        assert row[f"{label}_at"] == min(inside, default=None)


def test_clicks_are_as_frequent_as_their_probabilities_say(folder: Folder) -> None:
    """In each fifth of the impressions, from the least likely to the most."""
    rows = sorted(folder.truth, key=lambda row: row["click_probability"])
    size = len(rows) // 5
    shares = [rows[start : start + size] for start in range(0, 5 * size, size)]
    for part in shares:
        expected = sum(row["click_probability"] for row in part)
        clicked = sum(row["click"] for row in part)
        assert abs(clicked - expected) < 4 * expected**0.5
    least, most = (sum(row["click"] for row in part) for part in (shares[0], shares[-1]))
    assert most > 5 * least


def test_every_edge_of_the_rules_is_there(folder: Folder) -> None:
    """A truth that never meets an edge proves nothing about it."""
    seen: Counter[str] = Counter()
    for row in folder.truth:
        moment = row["event_time"]
        states = folder.states.get(row["user_id"], ())
        seen["unknown person"] += not states
        for as_of, known_at, _, _ in states:
            seen["known at the impression"] += known_at == moment
            seen["known just before"] += known_at == moment - MICROSECOND
            seen["known just after"] += known_at == moment + MICROSECOND
            seen["exactly one TTL old"] += as_of == moment - TTL and known_at < moment
            seen["just older than the TTL"] += as_of == moment - TTL - MICROSECOND
            seen["about the past, known later"] += as_of < moment < known_at
        for name, events, window in (
            ("click", folder.clicks, timedelta(minutes=30)),
            ("watch", folder.watches, timedelta(hours=4)),
        ):
            for at in events.get(row["impression_id"], ()):
                seen[f"{name} before"] += at < moment
                seen[f"{name} at once"] += at == moment
                seen[f"{name} just inside"] += at == moment + window - MICROSECOND
                seen[f"{name} just outside"] += at == moment + window
                seen[f"{name} long after"] += at > moment + window
    for states in folder.states.values():
        by_time = defaultdict(list)
        for as_of, known_at, _, fields in states:
            by_time[as_of].append((known_at, fields["watch_seconds_7d"]))
        for rows in by_time.values():
            seen["revised later"] += len({at for at, _ in rows}) > 1 < len({v for _, v in rows})
            seen["tied"] += len(set(rows)) > len({at for at, _ in rows})
    never = {"watch before", "watch at once"}
    missing = {name for name, count in seen.items() if not count} - never
    assert not missing, seen
    assert len(seen) == 19


USERS = st.integers(0, 2)
MOMENTS = st.integers(0, 12)
QUESTIONS = st.lists(st.tuples(USERS, MOMENTS), max_size=12)
LESSONS = st.lists(st.tuples(USERS, MOMENTS, st.integers(0, 4)), max_size=16)


@settings(deadline=None, max_examples=examples(300, few=100))
@given(questions=QUESTIONS, lessons=LESSONS, cuts=st.lists(MOMENTS, max_size=3))
def test_memory_answers_as_a_replay_would(
    questions: list[tuple[int, int]],
    lessons: list[tuple[int, int, int]],
    cuts: list[int],
) -> None:
    """Lessons are (user, received_at, age); the pieces of time are cut anywhere."""
    questions = sorted(questions, key=lambda question: question[1])
    lessons = sorted(lessons, key=lambda lesson: lesson[1])
    memory = ServingMemory(3)
    answers: list[int] = []
    bounds = [-1, *sorted(cuts), 99]
    for low, high in itertools.pairwise(bounds):
        asked = [(u, at) for u, at in questions if low <= at < high]
        arrived = [
            (user, at, at - age, number)
            for number, (user, at, age) in enumerate(lessons)
            if low <= at < high
        ]
        known = memory.replay(_table(asked, "user event_time"), _states(arrived))
        answers += known["s"].tolist()
    expected = []
    for user, moment in questions:
        known_then = [
            (at - age, at, number)
            for number, (person, at, age) in enumerate(lessons)
            if person == user and at < moment
        ]
        expected.append(max(known_then, default=(0, 0, 0))[2])
    assert answers == expected


def _table(rows: list[tuple[int, ...]], names: str) -> pa.Table:
    columns = np.array(rows, dtype=np.int64).reshape(len(rows), len(names.split()))
    return pa.table({name: columns[:, i] for i, name in enumerate(names.split())})


def _states(rows: list[tuple[int, int, int, int]]) -> pa.Table:
    table = _table(rows, "user received_at as_of s")
    return table.append_column("w", table.column("s"))
