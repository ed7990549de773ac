"""A Paimon warehouse on S3, reached with the lake's own settings of S3."""

import pyarrow as pa

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.give import export_version
from headrace.interop.paimon.take import take_changes
from tests.interop.warehouses import rows_of
from tests.s3 import S3Place
from tests.tables.factories import add, events_table


def test_a_warehouse_on_s3_is_written_and_read(s3_lake: Lake, s3: S3Place) -> None:
    table = events_table(s3_lake)
    add(table, [1, 2])
    uri = f"{s3_lake.settings.warehouse_uri}-of-paimon"
    warehouse = PaimonWarehouse.open(s3_lake.settings, warehouse=uri)
    export_version(s3_lake, table.head(), warehouse, "out.events", tag="first")
    again = PaimonWarehouse.open(s3_lake.settings, warehouse=uri)
    assert again.names() == ["out.events"]
    assert list(again.table("out.events").tags()) == ["first"]
    take_changes(s3_lake, again.table("out.events"), TableName.parse("raw.back"))
    assert sorted(rows_of(s3_lake, "raw.back", "id")) == [(1,), (2,)]
    assert again.table("out.events").definition.schema.field("event_time").type == pa.timestamp(
        "us", tz="UTC"
    )
