"""The SQL of a stream's keyed table: one golden file, and what is refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError
from headrace.flink.keyed_sql import keyed_shape, keyed_sql, subject_of
from headrace.flink.places import HIDDEN, hidden
from headrace.interop.paimon.facts import Changes, PaimonDefinition
from headrace.interop.paimon.support import ALLOWED, changes_of, refuse_unknown
from tests.flink.contracts import EVERY_TYPE, PLACES, contract
from tests.flink.keyed import RECORDS, order_of
from tests.golden.golden import Golden
from tests.raising import refused

PAIMON = {"type": "paimon", "warehouse": "s3://lake/paimon", "s3.secret-key": "mandarin"}
UUID = "6d9c5d0e-5f1c-4b53-9a3e-0c7e2f6d1a11"


def keyed(form: Any = "paimon", **more: Any) -> Stream:  # noqa: ANN401  (of a contract)
    return contract(keyed=form, **more)


def text(stream: Stream) -> str:
    return keyed_sql(stream, PLACES.catalog, PAIMON, snapshot_id=8, table_uuid=UUID).text


def plan(stream: Stream, *, snapshot_id: int = 8) -> str:
    return keyed_sql(stream, PLACES.catalog, PAIMON, snapshot_id=snapshot_id, table_uuid=UUID).plan


def test_the_statements_of_a_keyed_table_are_those_of_the_file(golden: Golden) -> None:
    stream = keyed({"paimon": "shop.things", "buckets": 4})
    sql = keyed_sql(stream, hidden(PLACES.catalog), hidden(PAIMON), snapshot_id=8, table_uuid=UUID)
    golden.check("flink-keyed.sql", sql.text)
    for secret in ("tangerine", "mandarin"):
        assert secret in text(keyed())
        assert secret not in sql.text
    assert f"'{HIDDEN}'" in sql.text


def test_the_statements_of_a_partial_update_are_those_of_the_file(golden: Golden) -> None:
    stream = keyed({"merge": "partial-update"})
    sql = keyed_sql(stream, hidden(PLACES.catalog), hidden(PAIMON), snapshot_id=8, table_uuid=UUID)
    golden.check("flink-keyed-partial.sql", sql.text)


def test_paimon_alone_means_the_table_of_the_stream() -> None:
    stream = keyed()
    assert "into `paimon`.`raw`.`things`" in text(stream)
    assert subject_of(stream) == "paimon:raw.things"
    assert stream.model_dump(mode="json")["keyed"] == "paimon"


def test_rows_of_a_key_are_in_the_order_of_event_time_and_then_of_their_place() -> None:
    options = keyed_shape(keyed()).options
    assert options["sequence.field"] == "at,from_known_at,from_source,from_partition,from_offset"


def test_each_part_of_the_order_decides_in_the_records_that_flink_is_given() -> None:
    by_key: dict[str, list[tuple[Any, ...]]] = {}
    for row in RECORDS:
        by_key.setdefault(row["id"], []).append(order_of(row))
    for part in range(5):
        newest = [max(orders) for orders in by_key.values()]
        assert any(
            each[:part] == best[:part] and each[part] != best[part]
            for best, orders in zip(newest, by_key.values(), strict=True)
            for each in orders
        )


@pytest.mark.parametrize("merge", ["deduplicate", "partial-update"])
def test_what_is_declared_can_be_read_back_with_its_changes(merge: str) -> None:
    shape = keyed_shape(keyed({"merge": merge}))
    table = PaimonDefinition(
        name=shape.name,
        options=shape.options,
        keys=shape.keys,
        partition_keys=(),
        types={"id": "STRING NOT NULL"},
        schema=shape.schema,
    )
    for version in ALLOWED:
        refuse_unknown(table, version=version)
    assert changes_of(table) is Changes.CHANGELOG


PARTIAL = {"merge": "partial-update"}
WHOLE: dict[str, Any] = {
    "source": {"files": "things/*.json", "complete_files": True},
    "event_time": "ingested",
    "full_snapshot": True,
}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"form": {"merge": "aggregation"}}, "deduplicate"),
        ({"form": {"sequence": "known_at"}}, "sequence"),
        ({"form": {"buckets": 0}}, "buckets"),
        ({"form": {"buckets": 129}}, "buckets"),
        ({"form": "hudi"}, "must be `paimon`"),
        ({"key": None}, "declare `key`"),
        ({"key": "small"}, "required"),
        ({"key": "at"}, "keys of `string`, `int`, `long`"),
        ({"event_time": "ingested"}, "make the field that says when"),
        ({"event_time": {"constant": "2026-01-01T00:00:00Z"}}, "make the field that says when"),
        (WHOLE, "full_snapshot"),
        (
            {
                "event_time": "known_at",
                "known_at": {"column": "known_at"},
                "fields": EVERY_TYPE | {"known_at": {"type": "timestamptz", "required": True}},
            },
            "an import needs the name",
        ),
        ({"unknown_fields": "evolve"}, "evolve"),
        ({"fields": EVERY_TYPE | {"from_offset": {"type": "long"}}}, "from_offset"),
        (
            {"form": PARTIAL, "fields": EVERY_TYPE | {"a__from": {"type": "long"}}},
            "`a__from` has no column `a__from__from`",
        ),
        (
            {"form": PARTIAL, "fields": EVERY_TYPE | {"n" * 58: {"type": "long"}}},
            "which says where its value came from",
        ),
        ({"fields": EVERY_TYPE | {"clock": {"type": "time"}}}, "`clock` is `time`"),
        ({"fields": EVERY_TYPE | {"more": {"type": "map<string,long>"}}}, "`more` is `map"),
        ({"fields": EVERY_TYPE | {"deep": {"type": "list<list<long>>"}}}, "`deep` is `list"),
    ],
)
def test_what_would_not_be_right_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    source = {} if "source" in more else {"source": {"files": "things/*.json"}}
    with pytest.raises(ValidationError, match=said):
        keyed(**({"form": "paimon"} | source | more))


def test_a_contract_without_a_keyed_table_has_no_job_for_one() -> None:
    for ask in (subject_of, keyed_shape):
        with refused(FlinkCannotError, stream="things"):
            ask(contract())


def test_a_changed_contract_is_another_plan_and_another_start_is_not() -> None:
    assert plan(keyed(), snapshot_id=9) == plan(keyed())
    assert plan(keyed({"buckets": 2})) != plan(keyed())
    fields = EVERY_TYPE | {"later": {"type": "timestamptz", "required": True}}
    assert plan(keyed(fields=fields, event_time="later")) != plan(keyed(fields=fields))
