"""Parquet columns of another type than declared: what becomes of each value is exact, or a dead letter."""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.api import Lake
from headrace.definitions.csv_form import CsvForm
from headrace.definitions.stream import Stream
from headrace.definitions.types import FieldType
from headrace.errors import SourceFileError
from headrace.ingest import dead_letters
from headrace.ingest.casts import can_cast, cast
from headrace.ingest.infer import draft_of
from headrace.ingest.list_texts import convert_lists
from headrace.ingest.number_forms import convert_numbers
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from tests.amounts import examples
from tests.raising import refused

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
TIMES = {"at": {"type": "timestamptz", "required": True}}


def contract(fields: Mapping[str, Any], **changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "things",
        "table": "raw.things",
        "source": {"files": "things/*"},
        "format": "parquet",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": dict(fields) | TIMES,
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, name: str, **columns: pa.Array) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({**columns, "at": pa.array([AT] * count)}), folder / name)


def rows(lake: Lake, name: str) -> list[object]:
    table = lake.table("raw.things").head().to_arrow()
    return table.sort_by([("_source", "ascending"), ("_source_offset", "ascending")])[
        name
    ].to_pylist()


CASES: Mapping[str, tuple[pa.Array, str, list[object], dict[int, str]]] = {
    "floats of a long": (
        pa.array([1.0, -0.0, 2.5, 2.0**53, 2.0**53 + 2, float("nan"), None]),
        "long",
        [1, 0, None, None, None, None, None],
        {2: "wrong_type", 3: "not_exact", 4: "not_exact", 5: "not_finite"},
    ),
    "floats of an int": (
        pa.array([1.0, 2.0**31], pa.float64()),
        "int",
        [1, None],
        {1: "out_of_range"},
    ),
    "decimals of a long": (
        pa.array([Decimal("7.00"), Decimal("7.01"), Decimal(10**20)], pa.decimal128(30, 2)),
        "long",
        [7, None, None],
        {1: "wrong_type", 2: "out_of_range"},
    ),
    "whole numbers of a text": (
        pa.array([2**63 - 1, -1, None]),
        "string",
        [str(2**63 - 1), "-1", None],
        {},
    ),
    "truth values of a number": (pa.array([True, False, None]), "int", [1, 0, None], {}),
    "truth values of a text": (pa.array([True, False]), "string", ["true", "false"], {}),
    "numbers of a truth value": (
        pa.array([0, 1, 2, None]),
        "boolean",
        [False, True, None, None],
        {2: "wrong_type"},
    ),
    "a dictionary": (
        pa.array([5, 6, 5]).dictionary_encode(),
        "string",
        ["5", "6", "5"],
        {},
    ),
    "a UUID": (
        pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
        "string",
        [str(uuid.UUID(int=1)), None],
        {},
    ),
    "lists of floats of whole ones": (
        pa.array([[1.0], [1.5], None, []]),
        "list<long>",
        [[1], None, None, []],
        {1: "wrong_type"},
    ),
    "an embedding": (
        pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)),
        "list<float>",
        [[1.0, 2.0], None],
        {},
    ),
    "a struct by names": (
        pa.array([{"b": 1.0, "c": 0, "a": "x"}, {"b": 0.5, "c": 1, "a": "y"}, None]),
        "struct<a: string, b: long, d: int>",
        [{"a": "x", "b": 1, "d": None}, None, None],
        {1: "wrong_type"},
    ),
    "a map by values": (
        pa.array([[("k", 1.0)], [("k", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
        "map<string, long>",
        [[("k", 1)], None, None, []],
        {1: "wrong_type"},
    ),
    "nanoseconds of a clock": (
        pa.array([3_723_000_004_999], pa.time64("ns")),
        "time",
        [dt.time(1, 2, 3, 4)],
        {},
    ),
    "nanoseconds in the hour that clocks show twice": (
        pa.array([1_730_611_800_000_000_999, None], pa.timestamp("ns", tz="America/New_York")),
        "timestamptz",
        [dt.datetime(2024, 11, 3, 5, 30, tzinfo=dt.UTC), None],
        {},
    ),
    "whole numbers of a decimal": (
        pa.array([7, 2**62, -100, None]),
        "decimal(4,2)",
        [Decimal("7.00"), None, None, None],
        {1: "out_of_range", 2: "out_of_range"},
    ),
    "bytes of one size": (pa.array([b"ab", None], pa.binary(2)), "binary", [b"ab", None], {}),
}


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_column_becomes_the_declared_type_without_loss(case: str, sliced: bool) -> None:
    column, text, expected, errors = CASES[case]
    wanted = FieldType.parse(text).arrow
    assert can_cast(column.type, wanted)
    if sliced:
        column = pa.concat_arrays([column, column, column]).slice(len(column), len(column))
    done = cast(column, wanted)
    assert (done.values.to_pylist(), done.errors) == (expected, errors)
    assert done.values.type == wanted
    done.values.validate(full=True)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (pa.float64(), "string"),
        (pa.string(), "struct<a: long>"),
        (pa.list_(pa.string()), "list<struct<a: long>>"),
        (pa.float64(), "decimal(8,2)"),
        (pa.date32(), "long"),
        (pa.float64(), "boolean"),
        (pa.struct([("a", pa.date32())]), "struct<a: long>"),
    ],
)
def test_a_type_that_cannot_become_the_declared_one_is_none(found: pa.DataType, text: str) -> None:
    assert not can_cast(found, FieldType.parse(text).arrow)


@given(
    st.lists(st.decimals(-(10**20), 10**20, places=4, allow_nan=False), min_size=1, max_size=20),
    st.sampled_from([pa.float32(), pa.float64()]),
)
@settings(max_examples=examples(1_000, few=40))
def test_a_decimal_becomes_a_float_that_says_its_digits_or_rounds_as_declared(
    numbers: list[Decimal], wanted: pa.DataType
) -> None:
    column = pa.array(numbers, pa.decimal128(38, 4))
    done = cast(column, wanted)
    nearest = [float(wanted.to_pandas_dtype()(float(number))) for number in numbers]
    for row, (number, value) in enumerate(zip(numbers, done.values.to_pylist(), strict=True)):
        same = Decimal(f"{nearest[row]:.4f}") == number
        assert (row in done.errors) == (not same)
        assert value == (nearest[row] if same else None)
    rounded = cast(column, wanted, rounds=True)
    assert (rounded.errors, rounded.values.to_pylist()) == ({}, nearest)


def test_a_decimal_beyond_a_float_is_refused_and_not_infinite() -> None:
    column = pa.array([Decimal("1e60"), Decimal("1.5")], pa.decimal256(76, 2))
    done = cast(column, pa.float32(), rounds=True)
    assert (done.values.to_pylist(), done.errors) == ([None, 1.5], {0: "not_finite"})
    assert cast(column, pa.float64(), rounds=True).values.to_pylist() == [1e60, 1.5]


def test_columns_and_fields_of_structs_are_found_by_name_in_each_file(lake: Lake) -> None:
    person = [("name", pa.string()), ("id", pa.int64())]
    land(
        lake,
        "a.parquet",
        user=pa.array([{"name": "x", "id": 1}], pa.struct(person)),
        tag=pa.nulls(1),
        old=pa.array([1]),
    )
    land(
        lake,
        "b.parquet",
        tag=pa.array(["t"]),
        new=pa.array([5]),
        user=pa.array([{"id": 2, "name": "y"}], pa.struct(person[::-1])),
    )
    land(lake, "c.parquet", tag=pa.array(["u"]))
    land(lake, "d.parquet", user=pa.array([{"id": 4}, None]), tag=pa.array(["v", "w"]))
    fields = {
        "user_id": {"type": "long", "from": "$.user.id"},
        "user_name": {"type": "string", "from": "$.user.name"},
        "tag": {"type": "string"},
        "new": {"type": "long"},
    }
    done = ingest(lake, contract(fields))
    assert (done.rows, done.undeclared_fields) == (5, {"old": 1})
    assert rows(lake, "user_id") == [1, 2, None, 4, None]
    assert rows(lake, "user_name") == ["x", "y", None, None, None]
    assert rows(lake, "tag") == [None, "t", "u", "v", "w"]
    assert rows(lake, "new") == [None, 5, None, None, None]


def test_a_required_path_that_a_file_lacks_is_named_with_the_file(lake: Lake) -> None:
    land(lake, "a.parquet", user=pa.array([{"no": 1}]))
    fields = {"user_id": {"type": "long", "from": "$.user.id", "required": True}}
    assert ingest(lake, contract(fields)).reasons == {"missing_required `user_id`": 1}
    land(lake, "b.parquet", other=pa.array([1]))
    with refused(SourceFileError, path="things/b.parquet"):
        ingest(lake, contract(fields))


def test_a_draft_of_files_with_other_columns_names_them_all(lake: Lake) -> None:
    land(
        lake, "a.parquet", tag=pa.nulls(1), vector=pa.array([[0.5, 1.0]], pa.list_(pa.float32(), 2))
    )
    land(
        lake,
        "b.parquet",
        tag=pa.array(["x"]),
        deep=pa.array([{"a": {"b": 1}}]),
        more=pa.array([[[1]]]),
        pairs=pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    )
    paths = sorted((lake.settings.data_dir / "things").iterdir())
    draft = draft_of(sample_of(paths), stream="things", table="raw.things", files="things/*")
    said = draft.declared()["fields"]
    assert said["vector"] == {"type": "list<float>", "length": 2}
    assert said["deep_a_b"] == {"type": "long", "from": "$.deep.a.b"}
    assert said["tag"] == {"type": "string"}
    assert (said["more"]["type"], said["pairs"]["type"]) == (
        "list<list<long>>",
        "map<string, long>",
    )
    assert ingest(lake, Stream.model_validate(draft.declared())).rows == 2


def test_a_list_of_another_length_is_a_dead_letter_with_the_length_found(lake: Lake) -> None:
    vectors = [[0.5, 1.0], [0.5], [0.5, None], None, [1.0, 2.0, 3.0]]
    land(lake, "a.parquet", v=pa.array(vectors))
    fields = {"v": {"type": "list<float>", "length": 2}}
    assert ingest(lake, contract(fields)).reasons == {"wrong_length `v`": 3}
    assert rows(lake, "v") == [[0.5, 1.0], None]
    found = lake.table(dead_letters.TABLE).head().to_arrow()["reason"].to_pylist()
    assert ["1 values" in each for each in sorted(found)] == [True, True, False]


def test_lists_in_cells_of_csv_are_json(lake: Lake) -> None:
    cells = ["[0.5, 1]", "[]", "", "[0.5, NaN]", "[0.5 ... 1]", "[0.5", "7", '["x"]', "[0.25,null]"]
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    lines = [f'"{cell.replace(chr(34), chr(34) * 2)}";{AT.isoformat()}' for cell in cells]
    (folder / "a.csv").write_text("\n".join(["v;at", *lines, ""]))
    fields = {"v": {"type": "list<double>"}}
    done = ingest(lake, contract(fields, format="csv", csv={"delimiter": ";"}))
    assert done.reasons == {"wrong_type `v`": 4, "not_finite `v`": 1}
    assert rows(lake, "v") == [[0.5, 1.0], [], None, [0.25, None]]


def test_json_objects_are_structs_and_maps_exactly(lake: Lake) -> None:
    values = [
        '{"s": {"n": 9007199254740993, "z": 1}, "m": {"a": [1]}, "at": "AT", "t": "01:02:03.5"}',
        '{"s": {"n": 1.5}, "at": "AT"}',
        '{"s": {"n": 1, "n": 2}, "at": "AT"}',
        '{"m": {"a": ["x"]}, "at": "AT"}',
        '{"s": null, "m": {}, "at": "AT", "t": "25:00"}',
        '{"s": null, "m": {}, "at": "AT"}',
    ]
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("\n".join(values).replace("AT", AT.isoformat()) + "\n")
    fields = {
        "s": {"type": "struct<n: double, k: string>"},
        "m": {"type": "map<string, list<long>>"},
        "t": {"type": "time"},
    }
    done = ingest(lake, contract(fields, format="json"))
    assert done.reasons == {
        "wrong_type `s`": 1,
        "not_exact `s`": 1,
        "wrong_type `m`": 1,
        "out_of_range `t`": 1,
    }
    assert rows(lake, "s") == [{"n": 1.5, "k": None}, None]
    longs = contract(fields | {"s": {"type": "struct<n: long>"}}, format="json", table="raw.more")
    assert ingest(lake, longs.model_copy(update={"stream": "more"})).rows == 2
    found = lake.table("raw.more").head().to_arrow().sort_by("_source_offset").to_pylist()
    assert (found[0]["s"], found[0]["m"], found[0]["t"]) == (
        {"n": 9007199254740993},
        [("a", [1])],
        dt.time(1, 2, 3, 500_000),
    )


def test_dead_letters_of_nested_values_can_be_shown(lake: Lake) -> None:
    land(lake, "a.parquet", s=pa.array([{"a": b"\xff", "n": 2**60}]), n=pa.array(["x"]))
    ingest(lake, contract({"n": {"type": "long"}}))
    (letter,) = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
    assert json.loads(letter["raw"])["s"]["n"] == 2**60


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"type": "long", "length": 3}, "only a list"),
        ({"type": "list<list<long>>", "length": 3}, "only a list"),
        ({"type": "long", "rounds": True}, "only a `float` or `double`"),
        ({"type": "map<long, string>"}, "is not a type"),
        ({"type": "struct<A: long>"}, "is not a type"),
        ({"type": "struct<a: long, a: int>"}, "twice"),
    ],
)
def test_a_type_that_contradicts_itself_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        contract({"v": said})


def test_zero_with_many_digits_behind_the_point_is_a_whole_number() -> None:
    done = cast(pa.array([Decimal(0), Decimal(5)], pa.decimal128(38, 18)), pa.int64())
    assert (done.values.to_pylist(), done.errors) == ([0, 5], {})


def test_the_first_float_that_stands_for_two_whole_numbers_is_refused() -> None:
    done = cast(pa.array([float(2**53 + 1), float(2**53 - 1)]), pa.int64())
    assert (done.values.to_pylist(), done.errors) == ([None, 2**53 - 1], {0: "not_exact"})


def test_a_list_of_numbers_that_are_too_large_is_one_dead_letter_and_no_crash() -> None:
    done = convert_lists(pa.array(["[3000000000]", "[1]"]), pa.list_(pa.int32()))
    assert (done.values.to_pylist(), done.errors) == ([None, [1]], {0: "out_of_range"})


def test_a_group_of_thousands_does_not_begin_with_zero() -> None:
    form = CsvForm(decimal=",", thousands=".")
    done = convert_numbers(pa.array(["0.500", "1.500"]), pa.float64(), form)
    assert (done.values.to_pylist(), done.errors) == ([None, 1500.0], {0: "wrong_type"})


def test_half_floats_become_whole_numbers_as_far_as_they_tell_them_apart() -> None:
    done = cast(pa.array([2.0, 2.5, 2048.0, None], pa.float16()), pa.int64())
    assert done.values.to_pylist() == [2, None, None, None]
    assert done.errors == {1: "wrong_type", 2: "not_exact"}
