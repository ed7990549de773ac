"""Which snapshots of a Paimon table expire: none that the lake, the table or a reader keeps, and all others."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.interop.paimon.expiry import GUARD, PaimonExpiry, plan_expiry, retention_of
from headrace.interop.paimon.facts import Changes, PaimonDefinition, PaimonRetention
from headrace.interop.paimon.plan import Begin, plan_import
from headrace.interop.paimon.token import Token
from tests.amounts import examples
from tests.interop.test_plan import snapshot

NOW_MS = 1_000_000
HISTORY = tuple(
    dataclasses.replace(snapshot(at), committed_at_ms=NOW_MS - 10_000 + at * 100)
    for at in range(1, 21)
)
ALL_OLD = PaimonRetention(age_ms=0, count=1, consumers={})


def token(at: int, *, taken_as: str = "changes") -> Token:
    return Token(
        table="k.t",
        taken_as=taken_as,
        snapshot_id=at,
        committed_at_ms=HISTORY[at - 1].committed_at_ms,
        reached_ms=0,
    )


def plan(*, retention: PaimonRetention = ALL_OLD, keep: int = 5, **tokens: Token) -> PaimonExpiry:
    return plan_expiry(HISTORY, retention=retention, tokens=tokens, keep=keep, now_ms=NOW_MS)


@settings(max_examples=examples(500, few=80))
@given(
    first=st.integers(1, 15),
    keep=st.integers(0, 25),
    age_ms=st.integers(0, 12_000),
    count=st.integers(0, 25),
    taken=st.dictionaries(st.sampled_from("abc"), st.integers(1, 20), max_size=3),
    next_of=st.dictionaries(st.sampled_from("xy"), st.integers(1, 21), max_size=2),
)
def test_what_expires_is_what_nobody_keeps_and_no_reader_misses_it(
    first: int,
    keep: int,
    age_ms: int,
    count: int,
    taken: dict[str, int],
    next_of: dict[str, int],
) -> None:
    history = HISTORY[first - 1 :]
    tokens = {name: token(at) for name, at in taken.items()}
    found = plan_expiry(
        history,
        retention=PaimonRetention(age_ms=age_ms, count=count, consumers=next_of),
        tokens=tokens,
        keep=keep,
        now_ms=NOW_MS,
    )
    expected = {
        each.id
        for each in history
        if each.id <= 20 - max(1, keep, count)
        and each.committed_at_ms <= NOW_MS - age_ms
        and all(each.id < at for at in (*taken.values(), *next_of.values()))
    }
    gone = {each.id for each in history if each.id < found.first_kept}
    assert gone == expected
    assert found.count == len(gone)
    left = [each for each in history if each.id not in gone]
    for name, at in tokens.items():
        if at.snapshot_id < first - 1:
            continue  # it was lost before
        taking = [
            plan_import(
                "k.t",
                there,
                target=name,
                token=at,
                created_ms=0,
                changes=Changes.CHANGELOG,
                begin=Begin.OLDEST,
                is_complete=lambda _: True,
            )
            for there in (history, left)
        ]
        assert taking[0] == taking[1]


def test_who_keeps_snapshots_that_the_lake_does_not_is_named() -> None:
    held = plan(slow=token(4), fast=token(19))
    assert held == PaimonExpiry(first_kept=4, count=3, held=12, held_by="slow")
    retention = dataclasses.replace(ALL_OLD, consumers={"job": 3})
    held = plan(retention=retention, slow=token(4))
    assert (held.first_kept, held.held_by) == (3, "job")
    assert plan(fast=token(19)) == PaimonExpiry(first_kept=16, count=15)


def test_the_state_of_a_table_needs_no_snapshot_but_the_newest() -> None:
    assert plan(whole=token(2, taken_as="state")).count == 15


@pytest.mark.parametrize(
    ("said", "age_ms"),
    [
        ({}, 3_600_000),
        ({"snapshot.time-retained": "2h"}, 7_200_000),
        ({"snapshot.time-retained": "3 D"}, 259_200_000),
        ({"snapshot.time-retained": "90 min"}, 5_400_000),
        ({"snapshot.time-retained": "1500"}, 1500),
        ({"snapshot.time-retained": "30 secs"}, 30_000),
        ({"snapshot.time-retained": "1500 micros"}, 2),
        ({"snapshot.time-retained": "7 \u00b5s"}, 1),
        ({"snapshot.time-retained": "1 nano"}, 1),
        ({"snapshot.time-retained": "PT1H"}, None),
    ],
)
def test_what_a_table_says_of_its_snapshots_is_obeyed_and_nothing_expires_if_it_is_not_understood(
    said: dict[str, str], age_ms: int | None
) -> None:
    table = PaimonDefinition(
        name="k.t",
        options=said | {"snapshot.num-retained.min": "7"},
        keys=(),
        partition_keys=(),
        types={},
        schema=None,  # pyright: ignore[reportArgumentType]  (no column is looked at)
    )
    found = retention_of(table, {"job": 3, GUARD: 1})
    age = said.get("snapshot.time-retained", "1 h").lower()
    assert found == PaimonRetention(age_ms=age_ms, age=age, count=7, consumers={"job": 3})
    unheld = dataclasses.replace(found, consumers={})
    later_ms = NOW_MS + (age_ms or 0)
    done = plan_expiry(HISTORY, retention=unheld, tokens={}, keep=1, now_ms=later_ms)
    assert done.count == (0 if age_ms is None else 13)
