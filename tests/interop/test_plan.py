"""Which snapshots an import reads: every one after its token once, or a named stop."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import (
    PaimonReason,
    PaimonSnapshotsExpiredError,
    PaimonUnsupportedError,
)
from headrace.interop.paimon.facts import Changes, PaimonSnapshot
from headrace.interop.paimon.plan import Begin, ImportPlan, has_changes, plan_import
from headrace.interop.paimon.token import Token
from tests.amounts import examples
from tests.raising import refused


def snapshot(at: int, kind: str = "APPEND", *, changelog: int | None = None) -> PaimonSnapshot:
    return PaimonSnapshot(
        id=at,
        kind=kind,
        committed_at_ms=at // 3,  # some have the same time
        rows=0,
        rows_changed=0,
        changelog_rows=changelog,
        properties={},
    )


def token(at: int) -> Token:
    return Token(
        table="k.t", taken_as="changes", snapshot_id=at, committed_at_ms=at // 3, reached_ms=0
    )


def plan(
    snapshots: Sequence[PaimonSnapshot],
    *,
    at: Token | None = None,
    begin: Begin = Begin.OLDEST,
    complete: Sequence[int] = range(10_000),
) -> ImportPlan:
    return plan_import(
        "k.t",
        snapshots,
        target="raw.t",
        token=at,
        created_ms=0,
        changes=Changes.CHANGELOG,
        begin=begin,
        is_complete=lambda each: each.id in complete,
    )


@settings(max_examples=examples(500, few=60))
@given(first=st.integers(1, 20), count=st.integers(1, 30), taken=st.integers(0, 50))
def test_every_snapshot_after_the_token_is_read_once_or_the_gap_is_named(
    first: int, count: int, taken: int
) -> None:
    there = [snapshot(at) for at in range(first, first + count)]
    taken = min(taken, there[-1].id)
    if taken and taken + 1 < first:
        with refused(
            PaimonSnapshotsExpiredError, first_snapshot_id=taken + 1, last_snapshot_id=first - 1
        ):
            plan(there, at=token(taken))
        return
    found = plan(there, at=token(taken) if taken else None)
    read = [each.id for each in found.snapshots]
    began = taken if taken else 0 if first == 1 else first
    assert read == list(range(began + 1, first + count))
    assert (found.state is None) == (bool(taken) or first == 1)


def test_a_state_is_taken_where_no_row_of_it_comes_again() -> None:
    there = [snapshot(at) for at in range(5, 9)]
    oldest = plan(there, complete=[6, 8])
    assert oldest.state == there[1] and [each.id for each in oldest.snapshots] == [7, 8]
    newest = plan(there, complete=[6, 7], begin=Begin.NEWEST)
    assert newest.state == there[2] and [each.id for each in newest.snapshots] == [8]
    with refused(PaimonUnsupportedError, reason=PaimonReason.UNMERGED_FILES):
        plan(there, complete=[])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("OVERWRITE", PaimonReason.OVERWRITTEN), ("ROLLBACK", PaimonReason.COMMIT_KIND)],
)
def test_a_snapshot_that_is_not_understood_is_a_named_stop(kind: str, reason: PaimonReason) -> None:
    with refused(PaimonUnsupportedError, reason=reason):
        plan([snapshot(1), snapshot(2, kind)])
    assert plan([snapshot(1), snapshot(2, kind), snapshot(3)], at=token(2)).last == snapshot(3)


def test_nothing_is_read_of_an_empty_table() -> None:
    assert plan([]).last is None


def test_a_changelog_may_be_in_a_snapshot_of_any_kind_and_appends_only_in_appends() -> None:
    compacted = snapshot(1, "COMPACT", changelog=4)
    assert has_changes(compacted, Changes.CHANGELOG)
    assert not has_changes(snapshot(1), Changes.CHANGELOG)
    assert has_changes(snapshot(1), Changes.UPSERTS)
    assert not has_changes(compacted, Changes.UPSERTS)
