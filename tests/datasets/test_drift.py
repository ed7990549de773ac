"""What lockfiles record of the values of columns, and how far those moved between two versions."""

import random
import statistics
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets.diff import diff
from headrace.datasets.drift import ColumnDrift, drift
from headrace.datasets.lockfile import Lockfile
from headrace.datasets.profile import ColumnProfile, Profiling
from headrace.datasets.publish import publish
from tests.datasets.conftest import SAMPLE_SET, River, sample

Array = Any  # pyarrow ships no types; any pa.Array
ROWS = 2_000


def profile(*arrays: Array) -> ColumnProfile:
    """Profile arrays as days of one column: each by itself, then merged."""
    whole = Profiling()
    for array in arrays:
        day = Profiling()
        day.update(array)
        whole.merge(day)
    return whole.done()


def numbers(seed: int, *, mean: float = 0.0, nulls: float = 0.0) -> Array:
    draw = random.Random(seed)
    return pa.array(
        [None if draw.random() < nulls else draw.gauss(mean, 1.0) for _ in range(ROWS)],
        pa.float64(),
    )


def drift_of(before: Array, after: Array) -> ColumnDrift:
    found = drift({"x": profile(before)}, {"x": profile(after)})
    assert found is not None
    return found[0]


@given(st.lists(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=20), min_size=1, max_size=4))
def test_days_add_up_to_what_their_rows_together_look_like(days: list[list[float | None]]) -> None:
    found = profile(*(pa.array(day, pa.float64()) for day in days))
    rows = [each for day in days for each in day]
    known = [each for each in rows if each is not None]
    assert (found.rows, found.nulls) == (len(rows), len(rows) - len(known))
    assert sum(found.buckets.values()) == len(known)
    if known:
        assert found.mean == pytest.approx(statistics.fmean(known), rel=1e-9, abs=1e-6)
        assert found.deviation == pytest.approx(statistics.pstdev(known), rel=1e-6, abs=1e-6)
    else:
        assert found.mean is found.deviation is None


def test_buckets_are_those_of_the_format() -> None:
    values = [0.0, 1.0, 1.2, 1.5, 2.0, -0.5, float("nan"), float("inf"), float("-inf"), None]
    found = profile(pa.array(values, pa.float64()))
    assert dict(found.buckets) == {
        "0": 2, "0.5": 1, "1": 1, "n-1": 1, "zero": 1, "nan": 1, "inf": 1, "-inf": 1,
    }  # fmt: skip
    assert (found.rows, found.nulls, found.mean) == (10, 1, pytest.approx(5.2 / 6))
    assert profile(pa.array([[1, 2], [], None])).buckets == {"1": 1, "zero": 1}  # lengths
    assert profile(pa.array([True, False, True])).buckets == {"0": 2, "zero": 1}
    texts = pa.array(["home", "cart", "home"])
    assert profile(texts) == profile(texts.dictionary_encode())
    assert sorted(profile(texts).buckets.values()) == [1, 2]
    assert not {"home", "cart"} & set(profile(texts).buckets)  # a lockfile holds no value


def test_numbers_too_large_to_be_added_have_buckets_and_no_mean() -> None:
    sentinel = pa.array([1.7976931348623157e308] * 3 + [1.0])
    for days in ((sentinel,), (sentinel, pa.array([1.0])), (pa.array([1.0]), sentinel)):
        found = profile(*days)
        assert found.mean is found.deviation is None
        assert found.buckets["1023.5"] == 3


def test_two_draws_of_one_population_have_not_moved() -> None:
    for rows in (ROWS, 50):
        found = drift_of(numbers(1).slice(0, rows), numbers(2).slice(0, rows))
        assert not found.moved, rows


def test_planted_drift_is_found_in_the_mean_the_nulls_and_the_shares_of_texts() -> None:
    moved = drift_of(numbers(1), numbers(2, mean=0.7))
    assert moved.moved
    assert moved.shift == pytest.approx(0.7, abs=0.1)
    nulls = drift_of(numbers(1), numbers(2, nulls=0.3))
    assert nulls.moved
    assert nulls.null_share_before == 0
    assert nulls.null_share_after == pytest.approx(0.3, abs=0.05)
    assert nulls.shift == pytest.approx(0, abs=0.1)
    texts = drift_of(pa.array(["a"] * 90 + ["b"] * 10), pa.array(["a"] * 50 + ["b"] * 50))
    assert (texts.moved, texts.shift) == (True, None)


def test_nulls_of_a_type_without_buckets_are_drift_too() -> None:
    days = pa.array([0] * 1_000, pa.date32())
    mostly = pa.array([0] * 10 + [None] * 990, pa.date32())
    assert drift_of(days, mostly).moved
    assert drift_of(mostly, days).moved
    assert drift_of(days, days).psi == 0


def test_what_moved_furthest_comes_first_and_equal_columns_have_an_index_of_zero() -> None:
    still = profile(numbers(1))
    found = drift(
        {"a": still, "b": profile(numbers(1))}, {"a": still, "b": profile(numbers(2, mean=2.0))}
    )
    assert found is not None
    assert [each.column for each in found] == ["b", "a"]
    assert found[1].psi == 0


def test_a_published_version_says_what_its_inputs_look_like(river: River) -> None:
    river.build(0, [sample(0, n) for n in range(40)])
    first = publish(river.lake, SAMPLE_SET).lock
    river.build(0, [sample(0, n, item_id=n + 1_000 if n % 4 else None) for n in range(40)])
    second = publish(river.lake, SAMPLE_SET).lock
    assert set(first.profiles) == {"item_id"}  # neither the labels nor ids and times
    assert first.profiles["item_id"].mean == pytest.approx(19.5)
    found = diff(first, second).drift
    assert found is not None
    (moved,) = found
    assert moved.moved
    assert (moved.null_share_before, moved.null_share_after) == (0, 0.25)
    assert moved.mean_after == pytest.approx(1_020)


def test_a_lockfile_of_an_earlier_release_is_read_and_written_as_it_was(three_days: River) -> None:
    lock = publish(three_days.lake, SAMPLE_SET).lock
    older = replace(lock, profiles={})
    text = older.to_json()
    assert "profiles" not in text
    read = Lockfile.from_json(text, source="ctr-v1")
    assert (read, read.to_json()) == (older, text)
    assert diff(older, lock).drift is diff(lock, older).drift is None
