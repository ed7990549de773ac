"""`unknown_fields: evolve`: what records add becomes columns once; what no column can hold stays a dead letter."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.ingest import evolution
from headrace.ingest.decoding.decode import decode
from headrace.ingest.evolution import EVOLVED_MAX, growth, with_fields
from headrace.ingest.replay import replay
from headrace.ingest.run import ingest
from headrace.ingest.sources.schemas import Schemas
from headrace.ingest.status import status
from headrace.tables.version import TableVersion
from tests.ingest.decoding import test_topic_values as topics
from tests.ingest.factories import dead_of, json_line, make_stream, records_of, rows_of
from tests.ingest.log_source import Entry, Log, LogSource

pytestmark = pytest.mark.slow

STREAM = make_stream("json", unknown_fields="evolve")


def log_of(lines: Sequence[bytes], *, partition: int = 0) -> LogSource:
    entries = [Entry(at, line) for at, line in enumerate(lines)]
    return LogSource({partition: Log(entries=entries, end=len(entries))})


def type_of(values: Sequence[object]) -> str | None:
    """The type inferred for a field `new` that has these values, one in each record."""
    records = records_of([json_line(new=value) for value in values])
    decoded = decode(records, STREAM)
    return growth(records, decoded, decoded.violations, STREAM).get("new")


def test_a_new_field_becomes_a_column_and_its_records_rows(lake: Lake) -> None:
    lines = [json_line(id="a"), json_line(id="b", colour="red"), json_line(id="c", colour=None)]
    done = ingest(lake, STREAM, source=log_of(lines))
    assert (done.rows, done.dead_letters, dict(done.undeclared_fields)) == (3, 0, {})
    found = {row["id"]: row["colour"] for row in rows_of(lake, STREAM).to_pylist()}
    assert found == {"a": None, "b": "red", "c": None}
    assert status(lake, STREAM, source=log_of(lines)).undeclared_fields == {}
    head = lake.table(STREAM.table).head()
    assert head.summary["headrace.contract_version"] == "1+1"
    # the next run knows it, and nothing changes any more
    more = log_of([*lines, json_line(id="d", colour="blue")])
    before = lake.table(STREAM.table).iceberg().metadata.current_schema_id
    assert ingest(lake, STREAM, source=more).rows == 1
    assert lake.table(STREAM.table).iceberg().metadata.current_schema_id == before


@pytest.mark.parametrize(
    ("format_", "types"),
    [
        ("avro", {"n": "long", "x": "double", "price": "decimal(38,2)", "tags": "list<long>"}),
        ("protobuf", {"n": "long", "x": "double", "tags": "list<long>", "kind": "string"}),
    ],
)
def test_a_field_of_a_schema_becomes_a_column_of_its_type(
    format_: str, types: Mapping[str, str]
) -> None:
    fields = {name: topics.FIELDS[name] for name in ("id", "at")}
    stream = topics.stream_of(format_, fields=fields, unknown_fields="evolve")
    schemas, thing = topics.protobuf()
    value = thing(n=7, x=0.5, kind=1)
    if format_ == "avro":
        schemas = Schemas(topic="things", single=json.dumps(topics.AVRO).encode())
        value = topics.avro(topics.AVRO, topics.GOOD | {"n": 7})
    records = topics.records_of([value], schemas)
    assert growth(records, decode(records, stream), {}, stream) == types
    (row,), bad = topics.rows(records, with_fields(stream, types))
    assert (row["n"], row["x"], row["tags"], bad) == (7, 0.5, [1, 2**62], {})


def test_the_contract_may_grow_within_a_commit_after_rows_of_the_old_columns(lake: Lake) -> None:
    lines = [json_line(id=f"{at}") for at in range(4)]
    lines += [json_line(id="x", extra=1), json_line(id="y", other=[1.5]), json_line(id="z")]
    assert ingest(lake, STREAM, source=log_of(lines), rows_per_commit=100).commits == 1
    rows = {row["id"]: row for row in rows_of(lake, STREAM).to_pylist()}
    assert len(rows) == 7
    assert (rows["x"]["extra"], rows["y"]["other"], rows["0"]["extra"]) == (1, [1.5], None)


def test_types_become_wider_where_values_need_it_and_no_value_is_rounded(lake: Lake) -> None:
    stream = make_stream("json", unknown_fields="evolve", more_fields={"f": {"type": "float"}})
    lines = [
        json_line(id="a", f=1.5),
        json_line(id="b", small=2**40),
        json_line(id="c", f=2**30 + 1),
    ]
    assert ingest(lake, stream, source=log_of(lines)).rows == 3
    schema = lake.table(stream.table).head().schema
    assert (schema.field("small").type, schema.field("f").type) == (pa.int64(), pa.float64())
    rows = {row["id"]: row for row in rows_of(lake, stream).to_pylist()}
    assert (rows["b"]["small"], rows["c"]["f"]) == (2**40, float(2**30 + 1))
    assert ingest(lake, stream, source=log_of([*lines, json_line(id="d", small=2**41)])).rows == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1, None, 2), "long"),
        ((1, 2.5), "double"),
        (([None, 1],), "list<long>"),  # null first
        (([1], [2.5]), "list<double>"),
        (([], [None]), None),
        (([], [1], [None], [None, 2]), "list<long>"),
        (([], 1), "long"),
        (([None, "a"], None), "list<string>"),
        ((True,), "boolean"),
        (("2019-11-24",), "string"),
        ((1, "a"), None),
        (({"a": 1},), None),
        (([{"a": 1}],), None),
        (([[1]],), None),
        ((2**63,), None),
        ((None,), None),
    ],
)
def test_a_type_is_inferred_from_all_values_or_not_at_all(
    values: tuple[object, ...], text: str | None
) -> None:
    """Row 16: a list that begins with null is inferred wrong."""
    assert type_of(values) == text


def test_lists_that_begin_with_null_have_the_values_that_were_sent(lake: Lake) -> None:
    """Row 16, where the field is not declared: first in its block, as a strict contract has it too."""
    values = [[None, 1], None, [], [None], [2, None, 3]]
    lines = [json_line(id=f"{at}", new=value) for at, value in enumerate(values)]
    assert ingest(lake, STREAM, source=log_of(lines)).rows == len(values)
    column = rows_of(lake, STREAM).sort_by("id").column("new")
    column.validate(full=True)
    assert column.to_pylist() == values
    strict = make_stream("json", stream="strict", table="raw.strict", unknown_fields="dead_letter")
    done = ingest(lake, strict, source=log_of(lines))
    assert (done.rows, done.dead_letters) == (1, 4)


def test_what_no_column_can_hold_stays_a_dead_letter_and_its_neighbours_are_rows(
    lake: Lake,
) -> None:
    """Row 23: a new field inside of an object that disappears."""
    bad = [
        json_line(id="nested", new={"a": 1}),
        json_line(id="name", **{"New-Field": 1}),
        json_line(id="reserved", _pos=1),
        json_line(id="coordinate", _source_offset=1),
        json_line(id="taken", event_time="x"),
        json_line(id="narrow", n=1.5),
    ]
    good = [json_line(id="null inside", new=None), json_line(id="plain")]
    done = ingest(lake, STREAM, source=log_of([*bad, *good]))
    assert (done.rows, done.dead_letters) == (2, 6)
    codes = {
        json.loads(row["raw"])["id"]: row["error_code"] for row in dead_of(lake, STREAM).to_pylist()
    }
    assert codes.pop("narrow") == "wrong_type"
    assert set(codes.values()) == {"unknown_field"}


def test_a_later_value_of_another_type_is_a_dead_letter(lake: Lake) -> None:
    ingest(lake, STREAM, source=log_of([json_line(new=1)]))
    done = ingest(lake, STREAM, source=log_of([json_line(new=1), json_line(new="one")]))
    assert (done.rows, done.dead_letters) == (0, 1)


def test_a_producer_that_invents_names_does_not_fill_the_schema(lake: Lake) -> None:
    lines = [json_line(id=f"{at}", **{f"k{at}": at}) for at in range(EVOLVED_MAX + 30)]
    done = ingest(lake, STREAM, source=log_of(lines))
    assert len(lake.table(STREAM.table).head().schema.names) < EVOLVED_MAX + 20
    assert done.rows + done.dead_letters == len(lines)
    assert done.dead_letters == 30


def _take(settings: Settings, partition: int) -> int:
    stream = make_stream(
        "json", unknown_fields="evolve", stream=f"things{partition}", table="raw.things"
    )
    lines = [json_line(id=f"{at}", new=at, small=2**40) for at in range(3)]
    with Lake.open(settings) as lake:
        return ingest(lake, stream, source=log_of(lines, partition=partition)).rows


def test_two_ingesters_evolve_a_table_once(lake: Lake) -> None:
    ingest(lake, STREAM, source=log_of([json_line(id="first")]))
    before = len(lake.table(STREAM.table).iceberg().metadata.schemas)
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda at: _take(lake.settings, at), (1, 2)))
    assert done == [3, 3]
    metadata = lake.table(STREAM.table).iceberg().metadata
    names = [field.name for field in metadata.schema().fields]
    assert names.count("new") == 1
    assert len(metadata.schemas) - before <= 2
    assert sorted(rows_of(lake, STREAM)["new"].drop_null().to_pylist()) == [0, 0, 1, 1, 2, 2]


def test_an_ingester_that_opens_while_another_evolves_adopts_what_it_did(lake: Lake) -> None:
    ingest(lake, STREAM, source=log_of([json_line(id="first")]))
    effective, calls = evolution.effective, 0

    def overtaken(stream: Stream, version: TableVersion) -> Stream:
        nonlocal calls
        calls += 1
        found = effective(stream, version)
        if calls == 1:
            assert _take(lake.settings, 1) == 3
        return found

    with mock.patch.object(evolution, "effective", overtaken):
        assert _take(lake.settings, 2) == 3
    assert calls > 2
    assert lake.table(STREAM.table).head().schema.field("small").type == pa.int64()


def test_columns_of_parquet_files_evolve_by_their_types(lake: Lake) -> None:
    import pyarrow.parquet as pq

    stream = make_stream("parquet", unknown_fields="evolve")
    rows = [
        json.loads(json_line(id=f"{at}")) | {"score": at / 2, "deep": {"a": at}} for at in range(3)
    ]
    table = pa.Table.from_pylist(rows)
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    pq.write_table(table.drop_columns(["deep"]), folder / "a.parquet")
    assert ingest(lake, stream).rows == 3
    assert lake.table(stream.table).head().schema.field("score").type == pa.float64()
    pq.write_table(table, folder / "b.parquet")
    assert ingest(lake, stream).dead_letters == 3


def test_letters_of_a_strict_contract_are_replayed_when_it_evolves(lake: Lake) -> None:
    strict = make_stream("json", unknown_fields="dead_letter")
    log = log_of([json_line(id="a"), json_line(id="b", new=7)])
    assert ingest(lake, strict, source=log).dead_letters == 1
    ingest(lake, STREAM, source=log_of([json_line()] * 2 + [json_line(id="c", new=8)]))
    assert replay(lake, STREAM).rows == 1
    assert sorted(rows_of(lake, STREAM)["new"].drop_null().to_pylist()) == [7, 8]


def test_a_field_with_another_name_in_its_records_is_declared_and_widened(lake: Lake) -> None:
    renamed = {"small": {"type": "int", "from": "Small-Number"}}
    stream = make_stream("json", unknown_fields="evolve", more_fields=renamed)
    lines = [json_line(id="a", small=..., new=1, **{"Small-Number": 2**40})]
    assert ingest(lake, stream, source=log_of(lines)).rows == 1
    (row,) = rows_of(lake, stream).to_pylist()
    assert (row["small"], row["new"]) == (2**40, 1)
