"""The difference of two versions names what changed and why, from their lockfiles alone."""

import dataclasses
import datetime as dt
from typing import Any

from headrace.datasets.diff import diff
from headrace.datasets.lockfile import LabelCount, LockedDay, Lockfile

DEFINITION: dict[str, Any] = {
    "name": "ctr",
    "exposures": "staging.views",
    "features": [{"view": "features.ctr"}],
    "labels": [{"table": "staging.clicks", "window_us": 60}],
    "keep_rate": "1",
}


def day(number: int, **changes: Any) -> LockedDay:  # noqa: ANN401
    made = LockedDay(
        day=dt.date(2026, 3, number),
        rows=10,
        content_hash=f"hash{number}",
        inputs={"staging.views": 1, "features.ctr": 1, "staging.clicks": 1},
        watermarks={"staging.clicks": 100},
    )
    return dataclasses.replace(made, **changes)


def lockfile(version: int, *days: LockedDay, **changes: Any) -> Lockfile:  # noqa: ANN401
    made = Lockfile(
        name="ctr",
        version=version,
        table="samples.ctr",
        snapshot_id=version,
        first_day=days[0].day,
        last_day=days[-1].day,
        filter_labels="mature",
        left_out=(),
        columns={"id": "string", "ctr": "double"},
        approximate=(),
        code="c0de",
        definition=DEFINITION,
        watermarks={},
        rows=sum(each.rows for each in days),
        labels=(LabelCount(label="click", state="mature", value="positive", rows=2),),
        content_hash="".join(each.content_hash for each in days),
        days=days,
        pins=(),
        created_at=dt.datetime(2026, 3, 9, tzinfo=dt.UTC),
        headrace_version="0",
    )
    return dataclasses.replace(made, **changes)


def test_equal_versions_have_no_difference() -> None:
    found = diff(lockfile(1, day(1), day(2)), lockfile(2, day(1), day(2)))
    assert not found
    assert (found.days, found.labels, found.definition, found.columns) == ((), (), (), ())


def test_days_that_came_went_or_changed_are_told_apart_with_their_causes() -> None:
    late = {"staging.views": 1, "features.ctr": 7, "staging.clicks": 8}
    after = lockfile(
        2,
        day(2, content_hash="other", inputs=late, rows=12, watermarks={"staging.clicks": 200}),
        day(3),
    )
    found = diff(lockfile(1, day(1), day(2)), after)
    assert [
        (each.day.day, each.change, each.rows_before, each.rows_after) for each in found.days
    ] == [
        (1, "removed", 10, None),
        (2, "changed", 10, 12),
        (3, "added", None, 10),
    ]
    assert found.days[1].causes == (
        "feature features.ctr",
        "label staging.clicks",
        "watermark staging.clicks",
    )
    assert found.days[0].causes == found.days[2].causes == ()


def test_a_changed_definition_is_a_cause_of_its_own_and_names_its_parts() -> None:
    redefined = {**DEFINITION, "keep_rate": "0.5", "name": "ctr2"}
    after = lockfile(2, day(1, content_hash="other"), definition=redefined)
    found = diff(lockfile(1, day(1)), after)
    assert found.definition == ("keep_rate",)
    assert found.days[0].causes == ("definition",)


def test_columns_and_labels_are_compared_too() -> None:
    columns = {"id": "string", "ctr": "float", "price": "double"}
    matured = (LabelCount(label="click", state="mature", value="positive", rows=5),)
    after = lockfile(2, day(1), columns=columns, labels=matured)
    found = diff(lockfile(1, day(1)), after)
    assert set(found.columns) == {"~ctr", "+price"}
    assert [(each.before, each.after) for each in found.labels] == [(2, 5)]
    assert (found.positives_before, found.positives_after) == (2, 5)
    back = diff(after, lockfile(3, day(1)))
    assert "-price" in back.columns
