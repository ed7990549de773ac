"""The watermark never goes back, and is the latest event less the lateness."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest import watermark

TIMES = st.one_of(st.none(), st.integers(-(10**15), 10**15))


@given(TIMES, st.lists(TIMES, max_size=20), st.timedeltas(timedelta(0), timedelta(days=30)))
def test_it_is_the_greatest_of_all_batches_in_any_order(
    start: int | None, batches: list[int | None], lateness: timedelta
) -> None:
    reached, before = start, start
    for latest in batches:
        reached = watermark.advance(reached, latest_event_us=latest, allowed_lateness=lateness)
        assert before is None or (reached is not None and reached >= before)
        before = reached
    late_us = lateness // timedelta(microseconds=1)
    known = [latest - late_us for latest in batches if latest is not None]
    assert reached == max([*known, *([] if start is None else [start])], default=None)


def test_it_reads_back_from_properties() -> None:
    assert watermark.read(watermark.note(-5)) == -5
    assert watermark.read(watermark.note(None)) is None
    assert watermark.as_time(2**62) is None
