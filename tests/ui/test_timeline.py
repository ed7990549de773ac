"""The time line of a sample, as plain functions."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.samples.inspect import InspectedFeature, InspectedLabel, InspectedSample, Moment
from ui.sample_charts import timeline_chart
from ui.timeline import apart, position, timeline, why_not_used

AT = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


def moment(happened_s: float, known_s: float) -> Moment:
    return Moment(
        event_time=AT + dt.timedelta(seconds=happened_s),
        known_at=AT + dt.timedelta(seconds=known_s),
    )


def feature(view: str, **moments: Moment) -> InspectedFeature:
    return InspectedFeature(
        view=view, snapshot_id=1, values=(("x", "1"),), used=moments.get("used"),
        expired=moments.get("expired"), not_used=moments.get("not_used"),
    )  # fmt: skip


SAMPLE = InspectedSample(
    sample_set="ctr",
    sample_id="a",
    event_time=AT,
    label_state="mature",
    keep_rate=1.0,
    snapshot_id=1,
    columns=(),
    features=(
        feature("features.a", used=moment(-3600, -3300), not_used=moment(-60, 240)),
        feature("features.b", expired=moment(-40 * 86_400, -40 * 86_400)),
        feature("features.c"),
    ),
    labels=(
        InspectedLabel(
            name="click", table="staging.clicks", value="1", state="mature",
            at=AT + dt.timedelta(seconds=30), window_ends=AT + dt.timedelta(minutes=30),
            watermark=None,
        ),
    ),
)  # fmt: skip


def test_rows_that_were_known_lie_before_the_exposure_and_others_end_after_it() -> None:
    found = timeline(SAMPLE)
    assert found.rows == ("features.a", "features.b", "features.c", "click")
    ends = {(each.row, each.kind): each.end for each in found.spans}
    assert ends["features.a", "used"] < 0 < ends["features.a", "too late"]
    assert ends["features.b", "expired"] < 0
    assert 0 < ends["click", "event"] < ends["click", "window"]


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_positions_keep_the_order_of_times(first_s: float, second_s: float) -> None:
    times = [AT + dt.timedelta(seconds=each) for each in sorted((first_s, second_s))]
    before, after = (position(each, around=AT) for each in times)
    assert before <= after
    assert (position(times[0], around=AT) < 0) == (times[0] < AT)


def test_every_bar_is_within_the_axis_and_markup_in_names_stays_text() -> None:
    option = timeline_chart(timeline(SAMPLE), dark=False)
    drawn = [point for each in option["series"] for point in each["data"]]
    assert len(drawn) == 8
    low, high = option["xAxis"]["min"], option["xAxis"]["max"]
    assert all(low < point["value"][0] < high for point in drawn)
    marked = replace(SAMPLE, features=(feature("<b>", used=moment(-2, -1)),))
    named = timeline_chart(timeline(marked), dark=True)
    assert "<b>" not in named["series"][0]["data"][0]["tooltip"]["formatter"]


@pytest.mark.parametrize(
    ("happened_s", "known_s", "said"),
    [
        (-60, 240, "became known 4 min after the exposure"),
        (0.0, 0.25, "happened 0 s after the exposure"),
        (3700, 4000, "happened 1 h 1 min after the exposure"),
        (-60, 0.25, "became known 0.25 s after the exposure"),
    ],
)
def test_why_a_row_was_not_used_is_said(happened_s: float, known_s: float, said: str) -> None:
    assert why_not_used(moment(happened_s, known_s), at=AT) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.3, "0.3 s"), (59, "59 s"), (252, "4 min 12 s"), (7_500, "2 h 5 min"), (90_000, "1 d 1 h")],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert apart(dt.timedelta(seconds=seconds)) == said
    assert apart(dt.timedelta(seconds=-seconds)) == said
