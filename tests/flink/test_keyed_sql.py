"""The SQL of a stream's keyed table: one golden file, and what is refused by name."""

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError
from headrace.flink.begin import Begin
from headrace.flink.keyed_sql import keyed_options, keyed_sql
from headrace.flink.places import HIDDEN, hidden
from headrace.interop.paimon.facts import Changes, PaimonDefinition
from headrace.interop.paimon.support import ALLOWED, changes_of, refuse_unknown
from tests.flink.contracts import EVERY_TYPE, PLACES, contract
from tests.golden.golden import Golden
from tests.raising import refused

BEGIN = Begin(after_us=0, snapshot_id=8, history_id=7)
PAIMON = {"type": "paimon", "warehouse": "s3://lake/paimon", "s3.secret-key": "mandarin"}


def keyed(form: Any = "paimon", **more: Any) -> Stream:  # noqa: ANN401  (of a contract)
    return contract(keyed=form, **more)


def text(stream: Stream, begin: Begin = BEGIN) -> str:
    return keyed_sql(stream, PLACES.catalog, PAIMON, begin=begin).text


def test_the_statements_of_a_keyed_table_are_those_of_the_file(golden: Golden) -> None:
    form = {"paimon": "shop.things", "merge": "partial-update", "sequence": "at", "buckets": 4}
    sql = keyed_sql(keyed(form), hidden(PLACES.catalog), hidden(PAIMON), begin=BEGIN)
    golden.check("flink-keyed.sql", sql.text)
    for secret in ("tangerine", "mandarin"):
        assert secret in text(keyed())
        assert secret not in sql.text
    assert f"'{HIDDEN}'" in sql.text


def test_paimon_alone_means_the_table_of_the_stream_and_its_event_time() -> None:
    stream = keyed()
    assert "into `paimon`.`raw`.`things`" in text(stream)
    said = keyed_options(stream)
    assert said["merge-engine"] == "deduplicate"
    assert said["sequence.field"] == "at,from_source,from_partition,from_offset"
    assert stream.model_dump(mode="json")["keyed"] == "paimon"
    assert "history" not in text(stream, Begin(after_us=0, snapshot_id=8, history_id=None))


@pytest.mark.parametrize("merge", ["deduplicate", "partial-update"])
def test_what_is_declared_can_be_read_back_with_its_changes(merge: str) -> None:
    options = keyed_options(keyed({"merge": merge}))
    table = PaimonDefinition(
        name="raw.things",
        options=options,
        keys=("id",),
        partition_keys=(),
        types={"id": "STRING NOT NULL"},
        schema=pa.schema([("id", pa.string())]),
    )
    for version in ALLOWED:
        refuse_unknown(table, version=version)
    assert changes_of(table) is Changes.CHANGELOG


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"form": {"merge": "aggregation"}}, "deduplicate"),
        ({"form": {"sequence": "price"}}, "price"),
        ({"form": {"sequence": "nothing"}}, "nothing"),
        ({"form": "hudi"}, "must be `paimon`"),
        ({"key": None}, "declare `key`"),
    ],
)
def test_what_cannot_be_kept_or_read_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        keyed(**more)


def test_a_field_with_the_name_of_a_place_is_refused() -> None:
    fields = EVERY_TYPE | {"from_offset": {"type": "long"}}
    with refused(FlinkCannotError, stream="things", field="from_offset"):
        text(keyed(fields=fields))


def test_a_changed_contract_is_another_plan_and_another_start_is_not() -> None:
    plan = keyed_sql(keyed(), PLACES.catalog, PAIMON, begin=BEGIN).plan
    later = Begin(after_us=0, snapshot_id=9, history_id=8)
    assert keyed_sql(keyed(), hidden(PLACES.catalog), {}, begin=later).plan == plan
    changed = keyed({"merge": "partial-update"})
    assert keyed_sql(changed, PLACES.catalog, PAIMON, begin=BEGIN).plan != plan
