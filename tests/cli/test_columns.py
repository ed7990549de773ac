"""Tables in terminals of any width: nothing that matters is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from headrace.cli.columns import Column, aligned

WORDS = st.text("abcü本-_.:", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
NUMBERS = st.integers(0, 10**20).map(lambda number: f"{number:,}")


@st.composite
def tables(draw: st.DrawFn) -> list[Column]:
    rows = draw(st.integers(0, 4))
    return [
        Column(
            title=draw(WORDS),
            cells=tuple(draw(st.lists(NUMBERS if right else TEXTS, min_size=rows, max_size=rows))),
            right=right,
        )
        for right in draw(st.lists(st.booleans(), min_size=1, max_size=6))
    ]


@given(tables(), st.integers(10, 200))
def test_every_number_and_word_stays_whole_at_any_width(table: list[Column], width: int) -> None:
    lines = aligned(table, width=width)
    shown = [word for line in lines for word in line.split()]
    for column in table:
        for word in (word for cell in column.cells for word in cell.split()):
            assert word in shown
    least = sum(column.width_min for column in table) + 2 * (len(table) - 1)
    if least <= width:
        assert all(cell_len(line) <= width for line in lines)


@given(tables())
def test_in_a_pipe_a_row_is_one_line(table: list[Column]) -> None:
    assert len(aligned(table, width=None)) == 1 + len(table[0].cells)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["table       rows  inputs", "raw.clicks  41,953  a@12345 b@6"]),
        (
            27,
            [
                "table         rows  inputs",
                "raw.clicks  41,953  a@12345",
                "                    b@6",
            ],
        ),
        (20, ["table   raw.clicks", "rows    41,953", "inputs  a@12345 b@6"]),
    ],
)
def test_texts_wrap_then_rows_stack(width: int, lines: list[str]) -> None:
    table = [
        Column(title="table", cells=("raw.clicks",)),
        Column(title="rows", cells=("41,953",), right=True),
        Column(title="inputs", cells=("a@12345 b@6",)),
    ]
    found = aligned(table, width=width)
    assert [line.split() for line in found] == [line.split() for line in lines]
