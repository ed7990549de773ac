"""Durations read back as they were written, and refuse what is none."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.definitions.durations import format_duration, parse_duration


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30_000)))
def test_a_written_duration_reads_back_to_the_millisecond(duration: timedelta) -> None:
    whole_ms = duration // timedelta(milliseconds=1) * timedelta(milliseconds=1)
    assert parse_duration(format_duration(duration)) == whole_ms


def test_units_add_up() -> None:
    assert parse_duration("1d2h3m4s5ms") == timedelta(1, 4, 0, 5, 3, 2)
    assert format_duration(timedelta(0)) == "0s"


@pytest.mark.parametrize(
    "text", ["", "5", "-5m", "5 m", "m5", "1.5h", "5w", 30, None, True, "9" * 20 + "d"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration|century"):
        parse_duration(text)
