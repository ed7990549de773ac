"""Key sets find exactly the keys they hold, and the files that may hold them are never missed."""

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.iceberg.keys import NONE, KeyFilter, KeySet
from headrace.identifiers import TableName
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.dml import keyed
from tests.dml.keyed import SCHEMA, SCHEMES, Row, add_rows, arrow, keyed_table

TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[object]]] = {
    "integer": (pa.int32(), st.integers(-2, 2)),
    "long": (pa.int64(), st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1])),
    "string": (pa.string(), st.text(max_size=2)),
    "long_string": (pa.string(), st.text("ab\U0010ffff", min_size=15, max_size=18)),
    "binary": (pa.binary(), st.binary(max_size=2)),
    "fixed": (pa.binary(2), st.binary(min_size=2, max_size=2)),
    "boolean": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates(dt.date(1969, 12, 30), dt.date(1970, 1, 2))),
    "time": (pa.time64("us"), st.sampled_from([dt.time(0), dt.time(23, 59, 59, 999_999)])),
    "timestamp": (
        pa.timestamp("us", tz="UTC"),
        st.sampled_from([keyed.START, dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=dt.UTC)]),
    ),
    "decimal": (pa.decimal128(9, 2), st.sampled_from([Decimal("-1.50"), Decimal("0.00"), Decimal("1.51")])),
    "uuid": (pa.uuid(), st.integers(0, 3).map(lambda n: uuid.UUID(int=n << 100))),
}  # fmt: skip


def array(values: list[object], kind: pa.DataType) -> pa.Array:
    return pa.array([v.bytes if isinstance(v, uuid.UUID) else v for v in values], kind)


@pytest.mark.slow
@settings(deadline=None)
@given(data=st.data())
def test_a_row_is_found_if_and_only_if_its_key_is_in_the_set(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4))
    a_key = st.tuples(*(st.one_of(st.none(), TYPES[name][1]) for name in names))
    keys = data.draw(st.lists(a_key, max_size=12))
    looked_up = data.draw(st.lists(a_key, max_size=12))

    def columns(rows: list[tuple[object, ...]]) -> list[pa.Array]:
        return [array([row[at] for row in rows], TYPES[name][0]) for at, name in enumerate(names)]

    found = KeySet(columns(keys))
    assert found.count == len(set(keys))
    number_of = dict(zip(keys, found.numbers.tolist(), strict=True))
    assert set(number_of.values()) == set(range(found.count))
    wanted = [number_of.get(row, NONE) for row in looked_up]
    assert found.find(columns(looked_up)).tolist() == wanted


def test_many_wide_columns_do_not_make_different_keys_equal() -> None:
    # the product of the sizes is beyond 64 bits, so numbers made of it would wrap around
    count = 3_000
    columns = [
        pa.array([(i * step) % count for i in range(count)]) for step in (1, 7, 11, 13, 17, 19)
    ]
    keys = KeySet(columns)
    assert keys.count == count
    assert keys.find(columns).tolist() == keys.numbers.tolist()
    moved = [*columns[:-1], pa.array(columns[-1].to_pylist()[1:] + columns[-1].to_pylist()[:1])]
    assert set(keys.find(moved).tolist()) == {NONE}


@pytest.mark.slow
@settings(
    max_examples=examples(25, few=10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files=st.lists(st.lists(keyed.rows, min_size=1, max_size=3), min_size=1, max_size=4),
    wanted=st.lists(keyed.rows, min_size=1, max_size=3),
    key=st.lists(st.sampled_from(SCHEMA.names[:4]), min_size=1, max_size=3, unique=True),
    partition_by=st.sampled_from(SCHEMES),
)
def test_a_file_that_holds_a_key_is_never_ruled_out(
    lake: Lake, files: list[list[Row]], wanted: list[Row], key: list[str], partition_by: tuple[str]
) -> None:
    table = keyed_table(lake, partition_by)
    for rows in files:
        add_rows(table, rows)
    new = arrow(wanted).combine_chunks()
    keys = KeySet([new.column(name).chunk(0) for name in key])
    version = table.head()
    test = KeyFilter(keys, names=key, metadata=version.metadata)
    listed = {entry.path for entry in version.files_in(test.may_list)}
    for entry in version.files():
        stored = pq.read_table(entry.path, columns=list(key), partitioning=None)
        held = keys.find([stored.column(n).combine_chunks() for n in key])
        if (held != NONE).any():
            assert test.may_hold(entry.data_file)
            assert entry.path in listed


@pytest.mark.parametrize("name", sorted(TYPES))
def test_files_of_other_values_are_ruled_out_for_every_type(lake: Lake, name: str) -> None:
    kind, _ = TYPES[name]
    low, high = sorted(EXAMPLES[name], key=str)
    table = lake.create(TableName("raw", f"of_{name}"), pa.schema([("k", kind)]))
    batch = pa.record_batch([array([low, low], kind)], names=["k"])
    (file,) = write_batches(table, [batch])
    metadata = table.iceberg().metadata

    def may_hold(*values: object) -> bool:
        keys = KeySet([array(list(values), kind)])
        return KeyFilter(keys, names=["k"], metadata=metadata).may_hold(file)

    assert may_hold(low)
    assert may_hold(high, low)
    assert not may_hold(high)
    assert not may_hold(None)
    assert not may_hold(None, high)


EXAMPLES: dict[str, tuple[object, object]] = {
    "integer": (1, 2),
    "long": (1, 2**62),
    "string": ("a", "b"),
    "long_string": ("a" * 18, "b" * 18),
    "binary": (b"a", b"b"),
    "fixed": (b"aa", b"bb"),
    "boolean": (False, True),
    "date": (dt.date(2024, 1, 1), dt.date(2024, 1, 2)),
    "time": (dt.time(1), dt.time(2)),
    "timestamp": (keyed.START, keyed.START + dt.timedelta(microseconds=1)),
    "decimal": (Decimal("1.50"), Decimal("1.51")),
    "uuid": (uuid.UUID(int=1), uuid.UUID(int=2)),
}
