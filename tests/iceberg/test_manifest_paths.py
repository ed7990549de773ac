"""Which files a manifest names, whatever its partition values are: they are passed over right."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.reader import DecimalReader
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
    TimeType,
)

from headrace.iceberg.manifest_paths import Listed, files_in

VALUES: list[tuple[PrimitiveType, list[object]]] = [
    (DecimalType(9, 2), [Decimal("-0.01"), Decimal("9999999.99")]),
    (DecimalType(38, 10), [Decimal("1.5"), Decimal("-1234567890123456.5")]),
    (StringType(), ["", "a/ü%00"]),
    (BinaryType(), [b"", b"\x00\xff"]),
    (FixedType(3), [b"\x00\x00\x00", b"\xff\x01\x80"]),
    (FloatType(), [0.5, -1e30]),
    (DoubleType(), [0.5, -1e300]),
    (BooleanType(), [True, False]),
    (TimeType(), [dt.time(0), dt.time(23, 59, 59, 999_999)]),
    (
        TimestamptzType(),
        [dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC)],
    ),
]


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=lambda each: str(each)[:16])
def test_partition_values_of_every_type_are_passed_over(
    tmp_path: Path, kind: PrimitiveType, values: list[object]
) -> None:
    catalog = InMemoryCatalog("theirs", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("ns")
    table = catalog.create_table(
        "ns.t",
        Schema(NestedField(1, "id", LongType()), NestedField(2, "p", kind)),
        partition_spec=PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "p")),
    )
    arrow = table.scan().to_arrow().schema
    column = pa.array([*values, None], arrow.field("p").type)
    table.append(pa.table({"id": range(len(column)), "p": column}))
    head = table.current_snapshot()
    assert head is not None
    for manifest in head.manifests(table.io):
        wanted = [
            (entry.data_file.file_path, entry.data_file.file_size_in_bytes)
            for entry in manifest.fetch_manifest_entry(table.io)
        ]
        listed = Listed(path=manifest.manifest_path, live_files=len(wanted))
        assert [(file.path, file.bytes) for file in files_in(table.io, listed)] == wanted
    catalog.close()


def test_pyiceberg_loses_its_place_after_a_decimal() -> None:
    """The fault that `_Resolver` mends; when this fails, it may go."""
    decoder = new_decoder(b"\x02" + bytes(15))
    DecimalReader(9, 2).skip(decoder)
    assert decoder.tell() != 4
