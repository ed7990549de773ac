"""The function of Flink's workers: values from parts of tiles, and what it imports."""

import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.windows import Slot, Windows
from headrace.flink import tile_values
from headrace.flink.tile_sql import view_json
from headrace.flink.tile_values import FIELD_BREAK, ITEM_BREAK, PART_BREAK, values_of
from headrace.serving.window_events import events_of
from headrace.window_states import Event, State, merged, state_of
from tests.amounts import examples
from tests.samples.window_oracle import (
    NOON,
    PLACE,
    SCHEMA,
    Row,
    event_rows,
    expected,
    windows_of,
)


@settings(max_examples=examples(500, few=40), deadline=None)
@given(
    windows=st.builds(
        windows_of, key=st.just(False), delay=st.sampled_from(["0s", "3s"]), entity=st.just(["u"])
    ),
    rows=event_rows(size_max=30),
    hops=st.integers(1, 12),
    data=st.data(),
)
def test_values_are_those_of_looking_at_every_event(
    windows: Windows, rows: list[Row], hops: int, data: st.DataObject
) -> None:
    at_us = (NOON - EPOCH) // ONE_US + hops * windows.hop_us
    batch = pa.RecordBatch.from_pylist(list(rows), SCHEMA)
    events = [event for key, event in events_of(windows, batch, coordinate=PLACE) if key == (1,)]
    parts: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        if event.known_us < at_us:  # the end of a tile: it happened before
            whose = windows.first_of(event.event_us), windows.first_of(event.known_us)
            parts.setdefault(whose, []).append(event)
    texts = [part_text(windows, tile_us, each) for (tile_us, _), each in parts.items()]
    shuffled = data.draw(st.permutations(texts))
    found = values_of(view_json(windows), at_us // 1000, PART_BREAK.join(shuffled) or None)
    wanted = expected(windows, rows, {"u": 1}, EPOCH + at_us * ONE_US)
    read = [
        typed(windows.slots[column.slot], text)
        for column, text in zip(windows.columns, found, strict=True)
    ]
    assert read == list(wanted.values())


def part_text(windows: Windows, tile_us: int, events: Sequence[Event]) -> str:
    """Write the states of some events of a tile as SQL does."""
    inputs = {name: number for number, name in enumerate(windows.inputs)}
    texts = [str(tile_us // 1000)]
    for slot in windows.slots:
        at = None if slot.of is None else inputs[slot.of]
        states = [state_of(slot, each, None if at is None else each.values[at]) for each in events]
        texts.append(text_of(slot, merged(slot, states)))
    return FIELD_BREAK.join(texts)


def text_of(slot: Slot, state: State) -> str:
    if slot.take == "distinct":
        return ITEM_BREAK.join(f"{each:019}" for each in state)
    if slot.take == "last":
        shown = [
            f"{us:020} {source.encode().hex()} {partition:011}{offset:020}|{json.dumps(str(plain(slot.input, value)))}"
            for us, source, partition, offset, value in state
        ]
        return ITEM_BREAK.join(shown)
    if state is None or (slot.take == "sum" and not state):
        return ""
    return str(plain(slot.output, state))


def plain(kind: Any, value: Any) -> Any:  # noqa: ANN401  (a value)
    return Decimal(value).scaleb(-kind.scale) if pt.is_decimal(kind) else value


def typed(slot: Slot, text: str | None) -> Any:  # noqa: ANN401  (a value)
    if text is None:
        return None
    if slot.take == "last":
        read = Decimal if pt.is_decimal(slot.input) else int
        return [read(each) for each in json.loads(text)]
    if pt.is_floating(slot.output):
        return float(text)
    return Decimal(text) if pt.is_decimal(slot.output) else int(text)


def test_what_was_read_is_kept_up_to_an_amount_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part may be a text of 80 KB: their number bounds no memory."""
    kept = tile_values.PartsRead()
    monkeypatch.setattr(tile_values, "KEPT_CHARS_MAX", 1000)
    view = view_json(windows_of(key=False, entity=["u"]))
    slots = len(windows_of(key=False, entity=["u"]).slots)
    empty = FIELD_BREAK.join(["{}", *(["1"] * 2), *([""] * (slots - 2))])
    for number in range(300):
        first = kept.part(view, empty.format(number * 10_000))
        assert first[0] == number
        assert kept.part(view, empty.format(number * 10_000)) is first
        assert sum(len(text) for _, text in kept.parts) == kept.chars <= 1000


@pytest.mark.slow
def test_the_function_needs_nothing_but_python() -> None:
    """PyFlink's environment has other versions of what headrace installs, and lacks most of it."""
    root = Path(__file__).parents[2]
    program = f"import sys; sys.path.append({str(root)!r}); import headrace.flink.tile_values"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
