"""PyIceberg and Trino on one catalog and one store: each reads what the other wrote."""

from datetime import UTC, datetime

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform
from pyiceberg.types import LongType, NestedField, TimestamptzType

from tests.cluster.servers import Servers

ROWS = 1_000


def test_rows_that_trino_deletes_are_gone_for_pyiceberg_and_its_next_append_is_seen_by_trino(
    servers: Servers, catalog: SqlCatalog, namespace: str
) -> None:
    name = f"{namespace}.events"
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "at", TimestamptzType(), required=True),
    )
    days = PartitionSpec(PartitionField(2, 1000, DayTransform(), "at_day"))
    table = catalog.create_table(name, schema, partition_spec=days)
    table.append(rows(range(ROWS)))
    assert servers.query(f"select count(*), sum(id) from {name}") == [[ROWS, sum(range(ROWS))]]

    assert servers.query(f"delete from {name} where id % 7 = 0") == [[len(range(0, ROWS, 7))]]
    table = catalog.load_table(name)
    kept = [each for each in range(ROWS) if each % 7]
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == kept

    table.append(rows(range(ROWS, ROWS + 5)))
    expected = [*kept, *range(ROWS, ROWS + 5)]
    assert servers.query(f"select id from {name} order by id") == [[each] for each in expected]


def rows(ids: range) -> pa.Table:
    """Make rows over three days, in the order of their ids."""
    times = [datetime(2026, 1, 1 + each % 3, 12, tzinfo=UTC) for each in ids]
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("at", pa.timestamp("us", "UTC"), nullable=False),
        ]
    )
    return pa.table([pa.array(ids, pa.int64()), pa.array(times, schema.field("at").type)], schema)
