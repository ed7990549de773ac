"""Which lines are not UTF-8: each is found with its first such byte, among lines of any letters."""

import pytest

from headrace.ingest.decoding.decoded import INVALID_UTF8
from headrace.ingest.decoding.lines import unreadable
from headrace.ingest.sources.line_block import LineBlock

BAD = {b"\xff": 0, b"ab\xc3": 2, b"a\x80\x80": 1, b"\xc3\xa9\xed\xa0\x80": 2}


@pytest.mark.parametrize("around", [b"plain", "é".encode(), "日本語のテキスト".encode()])
@pytest.mark.parametrize("bad", BAD)
def test_a_line_that_is_not_utf8_is_found_among_any_others(around: bytes, bad: bytes) -> None:
    lines = [around] * 300
    for at in (0, 150, 299):
        lines[at] = bad
    found = unreadable(LineBlock.of(lines))
    assert sorted(found) == [0, 150, 299]
    assert {each.code for each in found.values()} == {INVALID_UTF8}
    assert {f"at byte {BAD[bad]} of" in each.reason for each in found.values()} == {True}


@pytest.mark.parametrize("around", [b"plain", "é".encode(), "日本語のテキスト".encode()])
def test_lines_of_utf8_are_readable(around: bytes) -> None:
    assert unreadable(LineBlock.of([around] * 300)) == {}


def test_letters_that_only_two_lines_together_would_make_are_none() -> None:
    assert sorted(unreadable(LineBlock.of([b"a\xc3", b"\xa9b", b"c"]))) == [0, 1]
