"""Snapshots by build, as plain functions."""

import datetime as dt
from dataclasses import replace

from ui.facts import SnapshotFacts
from ui.snapshots import by_build, maintenance
from ui.wording import share, signed, unit_for

AT = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)


def commit(number: int, *, run: str = "r", operation: str = "overwrite") -> SnapshotFacts:
    return SnapshotFacts(
        snapshot_id=number, committed_at=AT + dt.timedelta(minutes=number), operation=operation,
        rows_added=10, rows_removed=4, files_added=2, files_removed=1, inputs={"raw.a": number},
        run_id=run, alive=True, tags=(),
    )  # fmt: skip


def test_the_commits_of_a_run_are_one_line_and_all_others_stand_alone() -> None:
    newest_first = [
        commit(7, run="b"), commit(6, run="b"), commit(5, run="b", operation="replace"),
        commit(4, run=""), commit(3, run=""), commit(2, run="a"), commit(1, run="b"),
    ]  # fmt: skip
    found = by_build(newest_first)
    assert [len(each.commits) for each in found] == [2, 1, 1, 1, 1, 1]
    assert (found[0].what, found[0].rows, found[0].files) == ("2 × overwrite", "+12", "+4 −2")
    assert found[0].at == AT + dt.timedelta(minutes=7)
    assert len(by_build(newest_first, apart=True)) == 7
    assert [each.snapshot_id for each in maintenance(newest_first)] == [5]


def test_a_build_says_how_many_of_its_snapshots_are_left() -> None:
    (some,) = by_build([commit(2), replace(commit(1), alive=False)])
    assert some.state == "1 of 2 snapshots live"
    (none,) = by_build([replace(commit(1), alive=False)])
    assert none.state == "expired"


def test_changes_shares_and_units_are_said_in_one_way() -> None:
    assert [signed(n) for n in (1_234, -9_127, 0)] == ["+1,234", "−9,127", "0"]
    assert [share(n) for n in (None, 0.0, 0.0004, 0.123, 1.0)] == [
        "—", "0 %", "< 0.1 %", "12.3 %", "100 %",
    ]  # fmt: skip
    assert unit_for(0) == ("B", 1)
    assert unit_for(5 * 1024**2) == ("MiB", 1024**2)
