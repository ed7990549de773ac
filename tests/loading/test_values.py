"""What a batch holds equals what the table holds: numbers, ids, lists, nulls."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from headrace.datasets.files import FilePlan, PlannedFile
from headrace.errors import (
    ColumnsUnclearError,
    CorruptFileError,
    FeatureSpecError,
    FeatureSpecReason,
    NullValueError,
)
from headrace.loading import Batch, FeatureSpec, SampleLoader, Shuffle, batch_of, hash_text
from tests.loading.factories import write_file, write_plan
from tests.raising import refused

ALL = FeatureSpec(
    dense=["ctr", "position"],
    sparse=["n", "position", "campaign"],
    sequence=["recent", "tags"],
    label=["click"],
    weight="keep_rate",
    key="sample_id",
)


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    assert batch.keys is not None and batch.weight is not None
    lists = {
        name: [
            column.values[column.offsets[at] : column.offsets[at + 1]].tolist()
            for at in range(len(batch))
        ]
        for name, column in batch.sequence.items()
    }
    return [
        {
            "dense": batch.dense[at].tolist(),
            "sparse": [ids[at].item() for ids in batch.sparse.values()],
            "recent": lists["recent"][at],
            "tags": lists["tags"][at],
            "click": batch.labels[at, 0].item(),
            "weight": batch.weight[at].item(),
            "key": batch.keys[at].as_py(),
        }
        for at in range(len(batch))
    ]


def expected_row(n: int) -> dict[str, Any]:
    return {
        "dense": [n / 8, float(n % 3)],
        "sparse": [n, n % 3, hash_text(["all", "men", "women"][n % 3])],
        "recent": [n * 10 + j for j in range(n % 4)],
        "tags": [hash_text(f"t{n % 5}")] * (n % 3),
        "click": float(n % 2),
        "weight": 1.0 if n % 2 else 0.25,
        "key": f"s{n}",
    }


@pytest.mark.parametrize(
    "shuffle", [None, Shuffle(window_rows=30), Shuffle(unit="run", run_rows=3, window_rows=9)]
)
@pytest.mark.parametrize("splits", [1, 3])
def test_every_value_of_every_row_comes_through(
    tmp_path: Path, shuffle: Shuffle | None, splits: int
) -> None:
    plan = write_plan(tmp_path, [[7, 13], [1, 20], [16]])
    found = []
    with SampleLoader(
        plan, spec=ALL, batch_size=8, shuffle=shuffle, canonical_splits=splits
    ) as loader:
        for batch in loader:
            assert batch.dense.dtype == batch.labels.dtype == torch.float32
            assert {ids.dtype for ids in batch.sparse.values()} == {torch.int64}
            assert batch.dense.shape == (len(batch), 2)
            found += rows_of(batch)
    assert sorted(found, key=lambda row: row["sparse"][0]) == [expected_row(n) for n in range(57)]
    if shuffle is None and splits == 1:
        assert [row["sparse"][0] for row in found] == list(range(57))


def one_file(folder: Path, columns: dict[str, pa.Array]) -> FilePlan:
    table = pa.table(columns)
    return FilePlan((write_file(folder / "one.parquet", table, row_groups=[table.num_rows]),))


def only_batch(plan: FilePlan, spec: FeatureSpec, *, shuffle: Shuffle | None = None) -> Batch:
    with SampleLoader(plan, spec=spec, batch_size=100, shuffle=shuffle) as loader:
        (batch,) = loader
    return batch


def test_nulls_read_as_the_missing_values(tmp_path: Path) -> None:
    plan = one_file(
        tmp_path,
        {
            "x": pa.array([1.5, None, 2.5]),
            "k": pa.array([None, 2**60 + 1, 3], pa.int64()),
            "flag": pa.array([True, None, False]),
            "money": pa.array([Decimal("1.25"), None, Decimal("-2.50")], pa.decimal128(9, 2)),
            "word": pa.array(["a", None, "b"]),
            "list": pa.array([None, [], [7, None]], pa.list_(pa.int64())),
            "scores": pa.array([[0.5, None], None, []], pa.list_(pa.float64())),
        },
    )
    spec = FeatureSpec(
        dense=["x", "k", "flag", "money"],
        sparse=["k", "word", "flag"],
        sequence=["list", "scores"],
        missing={"x": -5.0, "word": 0},
    )
    batch = only_batch(plan, spec)
    assert batch.dense.tolist() == [
        [1.5, 0.0, 1.0, 1.25],
        [-5.0, float(2**60), 0.0, 0.0],
        [2.5, 3.0, 0.0, -2.5],
    ]
    assert batch.sparse["k"].tolist() == [-1, 2**60 + 1, 3]
    assert batch.sparse["word"].tolist() == [hash_text("a"), 0, hash_text("b")]
    assert batch.sparse["flag"].tolist() == [1, -1, 0]
    assert batch.sequence["list"].values.tolist() == [7, -1]
    assert batch.sequence["list"].offsets.tolist() == [0, 0, 0, 2]
    assert batch.sequence["scores"].values.tolist() == [0.5, -1.0]


@pytest.mark.parametrize("shuffle", [None, Shuffle()])
def test_lists_that_are_all_empty_or_null_are_empty(
    tmp_path: Path, shuffle: Shuffle | None
) -> None:
    lists = pa.array([[], None, []], pa.list_(pa.int64()))
    plan = one_file(tmp_path, {"list": lists, "words": pa.nulls(3, pa.list_(pa.string()))})
    batch = only_batch(plan, FeatureSpec(sequence=["list", "words"]), shuffle=shuffle)
    for column in batch.sequence.values():
        assert (column.values.dtype, column.values.tolist()) == (torch.int64, [])
        assert column.offsets.tolist() == [0, 0, 0, 0]


def test_ids_keep_every_bit(tmp_path: Path) -> None:
    plan = one_file(
        tmp_path,
        {
            "wide": pa.array([2**64 - 1, 2**63, 5], pa.uint64()),
            "negative": pa.array([-(2**63), 2**63 - 1, 0], pa.int64()),
        },
    )
    batch = only_batch(plan, FeatureSpec(sparse=["wide", "negative"]))
    assert batch.sparse["wide"].tolist() == [-1, -(2**63), 5]
    assert batch.sparse["negative"].tolist() == [-(2**63), 2**63 - 1, 0]


def test_the_hash_of_a_string_never_changes() -> None:
    assert hash_text("men") == hash_text(b"men") == 7032803973078725277
    assert all(0 <= hash_text(str(n)) < 2**63 for n in range(1000))


def test_more_distinct_strings_than_a_dictionary_holds_still_hash_right(tmp_path: Path) -> None:
    words = [f"{n:08d}" + "x" * 100 for n in range(20_000)]  # beyond one dictionary page
    plan = one_file(tmp_path, {"word": pa.array(words)})
    with SampleLoader(plan, spec=FeatureSpec(sparse=["word"]), batch_size=20_000) as loader:
        (batch,) = loader
    assert batch.sparse["word"].tolist() == [hash_text(word) for word in words]


@pytest.mark.parametrize("role", ["label", "weight", "key"])
def test_a_null_label_weight_or_key_is_refused_by_name(tmp_path: Path, role: str) -> None:
    plan = one_file(tmp_path, {"a": pa.array([1.0, 2.0]), "b": pa.array([1, None], pa.int64())})
    named: dict[str, Any] = {role: ["b"] if role == "label" else "b"}
    spec = FeatureSpec(dense=["a"], **named)
    with pytest.raises(NullValueError) as refusal:
        only_batch(plan, spec)
    assert (refusal.value.column, refusal.value.rows) == ("b", 1)


def test_a_column_unknown_or_of_the_wrong_type_is_refused_before_any_decoding(
    tmp_path: Path,
) -> None:
    plan = write_plan(tmp_path, [[5], [5]])
    with refused(
        FeatureSpecError, reason=FeatureSpecReason.UNKNOWN_COLUMN, column="positon"
    ) as found:
        SampleLoader(plan, spec=FeatureSpec(dense=["ctr", "positon"]), batch_size=2)
    assert "`position`" in found.value.message
    for column, spec in (
        ("campaign", FeatureSpec(dense=["campaign"])),
        ("ctr", FeatureSpec(sparse=["ctr"])),
        ("n", FeatureSpec(sequence=["n"])),
    ):
        with refused(FeatureSpecError, reason=FeatureSpecReason.WRONG_TYPE, column=column):
            SampleLoader(plan, spec=spec, batch_size=2)


@pytest.mark.parametrize(
    ("options", "reason", "column"),
    [
        ({}, FeatureSpecReason.NO_COLUMNS, None),
        ({"dense": ["a", "a"]}, FeatureSpecReason.NAMED_TWICE, "a"),
        ({"dense": "ctr"}, FeatureSpecReason.NOT_A_LIST, None),
        ({"label": ["a"], "missing": {"a": 1}}, FeatureSpecReason.MISSING_UNUSED, "a"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(
    options: dict[str, Any], reason: FeatureSpecReason, column: str | None
) -> None:
    with refused(FeatureSpecError, reason=reason, column=column):
        FeatureSpec(**options)


def test_a_file_older_than_a_column_reads_it_as_missing(tmp_path: Path) -> None:
    old = write_file(tmp_path / "0.parquet", pa.table({"a": [1, 2]}), row_groups=[2], day=0)
    new = pa.table({"a": [3], "b": [9.0], "w": ["x"]})
    plan = FilePlan((old, write_file(tmp_path / "1.parquet", new, row_groups=[1], day=1)))
    batch = only_batch(plan, FeatureSpec(sparse=["a", "w"], dense=["b"]))
    assert batch.dense.tolist() == [[0.0], [0.0], [9.0]]
    assert batch.sparse["w"].tolist() == [-1, -1, hash_text("x")]
    with pytest.raises(NullValueError) as refusal:
        only_batch(plan, FeatureSpec(sparse=["a"], label=["b"]))
    assert (refusal.value.column, refusal.value.path) == ("b", old.path)


@pytest.mark.parametrize("role", ["sparse", "sequence"])
def test_files_with_texts_and_files_with_numbers_are_no_one_column(
    tmp_path: Path, role: str
) -> None:
    values: tuple[Any, Any] = ([[42]], [["42"]]) if role == "sequence" else ([42], ["42"])
    files = [
        write_file(tmp_path / f"{n}.parquet", pa.table({"id": each}), row_groups=[1], day=n)
        for n, each in enumerate(values)
    ]
    named: dict[str, Any] = {role: ["id"]}
    with pytest.raises(ColumnsUnclearError) as refusal:
        only_batch(FilePlan(tuple(files)), FeatureSpec(**named))
    assert refusal.value.column == "id"


def test_a_flipped_byte_is_a_named_error_and_never_a_wrong_value(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, [[40]])
    path = Path(plan.files[0].path)
    good = path.read_bytes()
    pages_end = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    expected = rows_of(only_batch(plan, ALL))
    outcomes: Counter[str] = Counter()
    for place in range(4, pages_end, 5):  # the footer carries no checksum
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            found = rows_of(only_batch(plan, ALL))
        except CorruptFileError as error:
            outcomes["refused"] += 1
            assert str(path) in str(error)
        else:
            outcomes["harmless"] += 1  # statistics in page headers, a codec's slack
            assert found == expected
    assert outcomes["refused"] > 4 * outcomes["harmless"]


def test_a_missing_truncated_or_replaced_file_is_named(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, [[5], [5, 5], [5]])
    middle = Path(plan.files[1].path)
    good = middle.read_bytes()
    other = pq.read_table(plan.files[0].path)
    for damage in (
        lambda: middle.write_bytes(good[:-20]),
        lambda: write_file(middle, other, row_groups=[5]),
        middle.unlink,
    ):
        damage()
        with SampleLoader(plan, spec=ALL, batch_size=5) as loader:
            batches = iter(loader)
            next(batches)
            with pytest.raises(CorruptFileError) as refusal:
                list(batches)
            assert refusal.value.path == str(middle)


def test_a_batch_moves_to_a_device(tmp_path: Path) -> None:
    batch = only_batch(write_plan(tmp_path, [[5]]), ALL)
    moved = batch.to("meta")
    assert moved.dense.is_meta and moved.sequence["tags"].offsets.is_meta
    assert moved.sparse["n"].shape == (5,)
    assert moved.keys == batch.keys


def test_statistics_count_rows_and_time(tmp_path: Path) -> None:
    with SampleLoader(write_plan(tmp_path, [[50]] * 3), spec=ALL, batch_size=8) as loader:
        assert loader.stats().rows_per_s == 0.0
        list(loader)
        stats = loader.stats()
    assert (stats.rows, stats.batches, stats.rows_decoded) == (150, 19, 150)
    assert stats.rows_per_s > 0 and 0 <= stats.wait_share <= 1
    assert stats.decode_cpu_ns_per_row > 0


def test_files_are_found_by_uri_too(tmp_path: Path) -> None:
    planned = write_plan(tmp_path, [[5]]).files[0]
    by_uri = PlannedFile(
        path=Path(planned.path).as_uri(),
        rows=planned.rows,
        row_group_rows=planned.row_group_rows,
        bytes=planned.bytes,
        partition=planned.partition,
    )
    assert only_batch(FilePlan((by_uri,)), ALL).sparse["n"].tolist() == list(range(5))


def test_a_batch_of_plain_values_follows_the_rules_of_the_table(tmp_path: Path) -> None:
    table = pq.read_table(write_plan(tmp_path, [[6]]).files[0].path)
    loaded = only_batch(write_plan(tmp_path, [[6]]), ALL)
    made = batch_of(table.to_pylist(), spec=ALL)
    assert torch.equal(made.dense, loaded.dense)
    for name, ids in loaded.sparse.items():
        assert torch.equal(made.sparse[name], ids)
    for name, lists in loaded.sequence.items():
        assert torch.equal(made.sequence[name].values, lists.values)
        assert torch.equal(made.sequence[name].offsets, lists.offsets)


def test_a_value_that_is_not_given_is_missing() -> None:
    batch = batch_of([{}], spec=ALL)
    assert batch.dense.tolist() == [[0.0, 0.0]]
    assert [ids.tolist() for ids in batch.sparse.values()] == [[-1]] * 3
    assert [lists.offsets.tolist() for lists in batch.sequence.values()] == [[0, 0]] * 2
