"""Rows that are passed on as they are stored say what rows say that were parsed and written again."""

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.serving.kept import KeptRows
from headrace.serving.server.service import Service
from headrace.serving.server.wire import VectorsRequest, json_of
from headrace.serving.store import EntityKey, Found, ViewState
from headrace.serving.values import encode
from tests.amounts import examples

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
VIEWS = ("features.one", "features.two")
COLUMNS = ("a", "b")


def state(view: str, kind: pa.DataType) -> ViewState:
    names = [f"{view[-3:]}_{name}" for name in COLUMNS]
    return ViewState(
        view=view,
        entity=("id",),
        columns=tuple(names),
        schema=pa.schema([("id", pa.int64()), *((name, kind) for name in names)]),
        ttl=dt.timedelta(hours=1),
        delay=dt.timedelta(0),
        snapshot_id=1,
        as_of=START,
        published_at=START,
    )


class Kept:
    """A store that has some texts, and rows as it keeps them or as objects."""

    def __init__(
        self,
        texts: Sequence[Sequence[str | None]],
        ages: Sequence[int],
        *,
        kind: pa.DataType = pa.float64(),  # noqa: B008  (a type never changes)
    ) -> None:
        self.kind, self.are_objects, self._texts = kind, False, dict[str, Sequence[str | None]]()
        self._texts.update(zip(VIEWS, texts, strict=False))
        self._times = [(START - dt.timedelta(minutes=age),) * 2 for age in ages]

    def look_up(self, wanted: Sequence[tuple[str, Sequence[EntityKey]]]) -> list[Found]:
        found: list[Found] = []
        for view, keys in wanted:
            texts = [self._texts[view][int(str(key[0]))] for key in keys]
            times = [self._times[int(str(key[0]))] for key in keys]
            had = [each if text else None for each, text in zip(times, texts, strict=True)]
            rows = KeptRows(keys, had, texts)  # pyright: ignore[reportArgumentType]  (texts of any kind)
            found.append(
                Found(state=state(view, self.kind), rows=list(rows) if self.are_objects else rows)
            )
        return found


def answered(store: Kept, views: Sequence[str], keys: Sequence[int]) -> list[Any]:
    request = VectorsRequest(views=list(views), entities=[{"id": key} for key in keys], at=START)
    service = Service(store, {})  # pyright: ignore[reportArgumentType]  (a store that only looks up)
    return json.loads(json_of(service.vectors(request)))["values"]


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LISTS = st.lists(st.integers(0, 9), max_size=2)
PLAIN = st.none() | st.booleans() | st.text(max_size=4) | NUMBERS | LISTS
TYPED = st.sampled_from([float("nan"), Decimal("1.50"), b"\xff", START, START.date(), "{", '["]'])
ROW = st.tuples(PLAIN, PLAIN)
ROWS = st.lists(ROW | st.none(), min_size=4, max_size=4)
ODD = st.tuples(TYPED, PLAIN) | st.tuples(PLAIN, st.one_of(PLAIN, TYPED))
MIXED = st.lists(ODD | st.none(), min_size=4, max_size=4)
KEYS = st.permutations(range(4)) | st.lists(st.integers(0, 3), min_size=1, max_size=6)


@settings(max_examples=examples(3_000, few=150), deadline=None)
@given(
    rows=st.tuples(ROWS | MIXED, ROWS | MIXED),
    ages=st.lists(st.sampled_from([1, 1, 1, 1, 0, 90]), min_size=4, max_size=4),
    keys=KEYS,
    views=st.sampled_from([VIEWS[:1], VIEWS[1:], VIEWS]),
    spaced=st.booleans(),
)
def test_an_answer_is_the_same_whether_rows_are_kept_or_objects(
    rows: tuple[Sequence[Any], ...],
    ages: Sequence[int],
    keys: Sequence[int],
    views: Sequence[str],
    *,
    spaced: bool,
) -> None:
    def text(row: Any) -> str | None:  # noqa: ANN401  (a row)
        if row is None or not spaced:
            return None if row is None else encode(row)
        return f" {json.dumps(json.loads(encode(row)), indent=1)}\t"  # as another writer may

    store = Kept([[text(row) for row in part] for part in rows], ages)
    found = answered(store, views, keys)
    store.are_objects = True
    assert found == answered(store, views, keys)


@pytest.mark.parametrize("views", [VIEWS[:1], VIEWS])
def test_plain_rows_are_passed_on_as_they_are(views: Sequence[str]) -> None:
    store = Kept([["[1.50,1e2]"], ["[ 7 ,[]]"]], [1])
    request = VectorsRequest(views=list(views), entities=[{"id": 0}], at=START)
    said = json_of(Service(store, {}).vectors(request))  # pyright: ignore[reportArgumentType]  (a store that only looks up)
    assert (b"[[1.50,1e2]]" if len(views) == 1 else b"[[1.50,1e2, 7 ,[]]]") in said


@pytest.mark.parametrize("text", ["[1", "[1,2],[3,4]", "", "[NaN,1]", "1]", "[1,2]]", "null,null"])
def test_a_damaged_text_fails_the_look_up_and_is_never_part_of_an_answer(text: str) -> None:
    keys = [(1,), (2,)]
    with pytest.raises(ValueError):
        KeptRows(keys, [(START, START)] * 2, ["[5,6]", text])


@pytest.mark.parametrize("text", ["[1]", "[1,2,3]", "[]", '{"a":1,"b":2}', "17", "null", '"ab"'])
def test_a_row_of_another_form_fails_the_answer(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        answered(Kept([["[5,6]", text]], [1, 1]), VIEWS[:1], [0, 1])
    with pytest.raises((ValueError, TypeError)):
        answered(Kept([[text]], [1]), VIEWS[:1], [0])


def test_an_integer_beyond_64_bits_is_the_same_whether_rows_are_kept_or_objects() -> None:
    for text in ("[1,2]", "[123456789012345678901234567890,1]", "[1,null]"):
        store = Kept([[text]], [1], kind=pa.int64())
        found = answered(store, VIEWS[:1], [0])
        store.are_objects = True
        assert (found, str(found)) == (again := answered(store, VIEWS[:1], [0]), str(again))
