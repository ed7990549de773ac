"""Keeping negatives: one decision per id, the same in Python and in SQL, at about the asked rate."""

from decimal import Decimal

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.samples.build import build
from headrace.samples.labels import is_kept, kept_sql
from tests.samples.factories import Shop, at, sample_set

rates = st.decimals(min_value="0.000001", max_value="1", places=6)


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.text(max_size=12), max_size=20), rate=rates, salt=st.text(max_size=6))
def test_python_and_sql_keep_the_same_negatives(ids: list[str], rate: Decimal, salt: str) -> None:
    ids = [text.replace("\0", "") for text in ids]
    salt = salt.replace("\0", "")
    with duckdb.connect() as connection:
        sql = f"select {kept_sql('unnest', rate=rate, salt=salt)} from unnest($1::varchar[])"
        found = [kept for (kept,) in connection.execute(sql, [ids]).fetchall()]
    assert found == [is_kept(text, rate=rate, salt=salt) for text in ids]


def test_the_share_kept_is_the_rate_and_a_higher_rate_keeps_what_a_lower_kept() -> None:
    def kept(rate: str) -> set[int]:
        return {n for n in range(20_000) if is_kept(f"bts/all/{n}", rate=Decimal(rate), salt="v1")}

    assert abs(len(kept("0.25")) / 20_000 - 0.25) < 0.01
    assert kept("0.1") < kept("0.25") < kept("0.9") < kept("1") == set(range(20_000))


def test_positives_stay_and_a_dropped_negative_comes_back_when_it_turns_positive(
    shop: Shop,
) -> None:
    rate = Decimal("0.5")
    names = [f"n{n}" for n in range(60)]
    shop.show(*((name, at(10, day=1), 1) for name in names))
    thinned = sample_set(keep_negatives={"rate": 0.5, "salt": "s"})
    build(shop.lake, thinned)
    before = shop.samples()
    kept = {name for name in names if is_kept(name, rate=rate, salt="s")}
    assert {name for name in before if name in names} == kept
    assert {row["keep_rate"] for row in before.values()} == {0.5}

    dropped = min(set(names) - kept)
    shop.tap((dropped, at(10.5, day=1), at(10.5, day=1), 1), watermark=at(0, day=2))
    build(shop.lake, thinned)
    after = shop.samples()
    assert set(after) == {*before, dropped}
    assert (after[dropped]["tap"], after[dropped]["keep_rate"]) == (1, 1.0)
