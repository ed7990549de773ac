"""Tables in terminals of any width: nothing that matters is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from headrace.cli.columns import Column, aligned, stacked

WORDS = st.text("abcü本-_.:", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
NUMBERS = st.integers(0, 10**20).map(lambda number: f"{number:,}")


@st.composite
def tables(draw: st.DrawFn) -> list[Column]:
    rows = draw(st.integers(0, 4))
    sides = draw(st.lists(st.booleans(), min_size=1, max_size=6))
    return [
        Column(
            title=f"{draw(WORDS)}{at}",
            cells=tuple(draw(st.lists(NUMBERS if right else TEXTS, min_size=rows, max_size=rows))),
            right=right,
            spare=draw(st.integers(0, 2)) if at else 0,
        )
        for at, right in enumerate(sides)
    ]


@given(tables(), st.integers(10, 200))
def test_every_number_and_word_stays_whole_at_any_width(table: list[Column], width: int) -> None:
    lines = aligned(table, width=width)
    note = "".join(line.partition(": ")[2] for line in lines if line.startswith("not shown"))
    spared = set(note.split(", "))
    shown = [word for line in lines for word in line.split()]
    kept = [column for column in table if column.title not in spared]
    assert all(column.spare for column in table if column not in kept)
    for column in kept:
        for word in (word for cell in column.cells for word in cell.split()):
            assert word in shown
    least = sum(column.width_min for column in table) + 2 * (len(table) - 1)
    if least <= width:
        assert all(cell_len(line) <= width for line in lines if not line.startswith("not shown"))


@given(tables(), st.integers(10, 200))
def test_a_block_for_each_row_shows_every_column(table: list[Column], width: int) -> None:
    shown = [word for line in stacked(table, width=width) for word in line.split()]
    for column in table:
        assert all(word in shown for cell in column.cells for word in cell.split())


@given(tables())
def test_in_a_pipe_a_row_is_one_line(table: list[Column]) -> None:
    assert len(aligned(table, width=None)) == 1 + len(table[0].cells)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            55,
            ["table       rows  inputs", "raw.clicks  41,953  a@12345 b@6 c and d@12345678901234"],
        ),
        (
            44,
            [
                "table         rows  inputs",
                "raw.clicks  41,953  a@12345 b@6 c and",
                "                    d@12345678901234",
            ],
        ),
        (43, ["table  rows", "raw.clicks  41,953", "not shown at this width: inputs"]),
        (18, ["table  rows", "raw.clicks  41,953", "not shown at this width: inputs"]),
        (
            17,
            [
                "table   raw.clicks",
                "rows    41,953",
                "inputs  a@12345 b@6 c and",
                "d@12345678901234",
            ],
        ),
    ],
)
def test_texts_wrap_then_columns_are_left_out_then_rows_stack(width: int, lines: list[str]) -> None:
    table = [
        Column(title="table", cells=("raw.clicks",)),
        Column(title="rows", cells=("41,953",), right=True),
        Column(title="inputs", cells=("a@12345 b@6 c and d@12345678901234",), spare=1),
    ]
    found = aligned(table, width=width)
    assert [line.split() for line in found] == [line.split() for line in lines]
