"""Keeping negatives: one decision per id, the same in Python and in SQL, at about the asked rate."""

import json
import math
from dataclasses import replace
from decimal import Decimal

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.datasets.publish import publish
from headrace.datasets.rebuild import rebuild, rebuild_locked
from headrace.engines.duckdb_dialect import DuckDBDialect
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.labels import is_kept, kept_sql
from headrace.samples.resolve import Recipe, resolve
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.samples.factories import TAPS, Shop, at, day, sample_set

rates = st.decimals(min_value="0.000001", max_value="1", places=6)


@settings(max_examples=examples(60, few=20), deadline=None)
@given(ids=st.lists(st.text(max_size=12), max_size=20), rate=rates, salt=st.text(max_size=6))
def test_python_and_sql_keep_the_same_negatives(ids: list[str], rate: Decimal, salt: str) -> None:
    ids = [text.replace("\0", "") for text in ids]
    salt = salt.replace("\0", "")
    with duckdb.connect() as connection:
        sql = f"select {kept_sql('unnest', rate=rate, salt=salt, dialect=DuckDBDialect())} from unnest($1::varchar[])"
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


def test_a_nan_label_is_no_value_for_the_lockfile_nor_for_sampling(shop: Shop) -> None:
    scores = pa.schema([*TAPS, pa.field("score", pa.float64())])
    table = shop.lake.create(TableName("shop", "scored"), scores, partition_by=["day(event_time)"])
    ids = [f"n{number}" for number in range(12)]
    shop.show(*((each, at(1, day=3), 1) for each in (*ids, "good", "bad")))
    values = [(each, math.nan) for each in ids] + [("good", 2.0), ("bad", -1.0)]
    rows = [
        {"shown_id": each, "event_time": at(2, day=3), "known_at": at(2, day=3), "score": score}
        for each, score in values
    ]
    files = write_batches(table, [pa.RecordBatch.from_pylist(rows, schema=scores)])
    append(table, files, provenance=Provenance())
    label = {"name": "score", "stream": "shop.scored", "value": "score", "window": "2h"}
    thinned = sample_set(labels=[label], keep_negatives={"rate": 0.5, "salt": "s"})
    built = build(shop.lake, thinned, days=[day(3)])
    kept = [each for each in ids if is_kept(each, rate=Decimal("0.5"), salt="s")]
    assert 0 < len(kept) < len(ids)
    found = {each: row["keep_rate"] for each, row in shop.samples().items()}
    assert found == dict.fromkeys(kept, 0.5) | {"good": 1.0, "bad": 1.0}
    assert built.positives == 2
    lock = publish(shop.lake, thinned, allow_pending=True).lock
    counts = {each.value: each.rows for each in lock.labels}
    assert counts == {"nan": len(kept), "positive": 1, "negative": 1}
    assert rebuild(shop.lake, "taps").reproduced
    recipe = replace(Recipe.from_json(json.dumps(lock.definition)), code_version=1)
    old = replace(lock, definition=json.loads(recipe.to_json()))
    assert rebuild_locked(shop.lake, old).rows == len(values)  # the rule it was published by


def test_only_recipes_with_a_label_that_may_be_nan_have_a_new_version(shop: Shop) -> None:
    force = {"name": "force", "stream": "shop.taps", "value": "force", "window": "2h"}
    for labels in ([], [force], sample_set().labels):
        assert resolve(shop.lake, sample_set(labels=labels)).code_version == 1
