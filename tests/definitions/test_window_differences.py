"""A window view is another one by whatever decides its values, and its difference is named."""

from dataclasses import fields, replace
from typing import Any

import pytest

from headrace.definitions.window_differences import differs_from
from headrace.definitions.windows import Slot, WindowColumn, Windows
from tests.samples.window_oracle import windows_of

WINDOWS = windows_of()
SUMMED = next(at for at, slot in enumerate(WINDOWS.slots) if slot.take == "sum")
OTHER = {"take": "max", "of": "rank", "type": "date"}


def test_equal_declarations_do_not_differ() -> None:
    assert differs_from(windows_of(), WINDOWS) == ""
    assert differs_from(windows_of(stale_after="7d"), WINDOWS) == ""  # it decides no value


@pytest.mark.parametrize("name", [each.name for each in fields(Windows)])
def test_each_part_of_a_view_is_compared(name: str) -> None:
    value: Any = getattr(WINDOWS, name)
    other = value[:-1] if isinstance(value, tuple) else value + type(value)(1)
    if name == "slots":
        other = tuple(replace(slot, keep=9) for slot in WINDOWS.slots)
    found = differs_from(replace(WINDOWS, **{name: other}), WINDOWS)
    assert bool(found) == (name not in ("view", "stale_us"))


@pytest.mark.parametrize("name", [each.name for each in fields(Slot)])
def test_each_part_of_what_a_tile_keeps_is_compared(name: str) -> None:
    slot = WINDOWS.slots[SUMMED]
    changed = replace(slot, **{name: OTHER.get(name, 7)})
    slots = (*WINDOWS.slots[:SUMMED], changed, *WINDOWS.slots[SUMMED + 1 :])
    assert differs_from(replace(WINDOWS, slots=slots), WINDOWS)


@pytest.mark.parametrize("name", [each.name for each in fields(WindowColumn)])
def test_each_part_of_a_column_is_compared(name: str) -> None:
    first, *others = WINDOWS.columns
    value: Any = getattr(first, name)
    changed = replace(first, **{name: value + type(value)(1)})
    assert differs_from(replace(WINDOWS, columns=(changed, *others)), WINDOWS)


def test_a_difference_is_said_in_the_words_of_the_declaration() -> None:
    assert differs_from(windows_of(hop="5s"), WINDOWS) == "its `hop` is 0:00:05, was 0:00:10"
    assert differs_from(windows_of(key=False), WINDOWS) == "it has no `key`"
    first, *others = WINDOWS.columns
    longer = (replace(first, window_us=172_800_000_000), *others)
    found = differs_from(replace(WINDOWS, columns=longer, lateness_us=1), WINDOWS)
    said = f"its column `{first.name}` is `count` in 2 days, 0:00:00, was `count` in 0:00:10"
    assert found == said  # its lateness follows from that
    more = replace(WINDOWS, columns=(*WINDOWS.columns, replace(first, name="more")))
    assert differs_from(more, WINDOWS) == "it has column `more`, had none"
