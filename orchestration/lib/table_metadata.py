"""Metadata of a materialized table, under the names that Dagster's pages recognize."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from headrace.definitions.properties import WATERMARK
from headrace.identifiers import TableName
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


def pin(lake: OpenLake, name: TableName) -> TableVersion | None:
    """Pin a table before it is written; None if it does not exist yet."""
    return lake.table(name).head() if lake.exists(name) else None


def table_result(
    lake: OpenLake,
    name: TableName,
    *,
    before: TableVersion | None,
    key: dg.AssetKey | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[Any]:
    """Report a table after a write; its snapshot id is the data version."""
    after = lake.table(name).head()
    return dg.MaterializeResult(
        asset_key=key,
        metadata={**table_metadata(lake, after, before=before), **(metadata or {})},
        data_version=dg.DataVersion(str(after.snapshot_id)),
    )


def table_metadata(
    lake: OpenLake, version: TableVersion, *, before: TableVersion | None
) -> dict[str, Any]:
    """Describe the current state of a table, and the number of files it had in `before`."""
    record = (
        None
        if version.snapshot_id is None
        else lake.registry.commit(str(version.name), version.snapshot_id)
    )
    files = version.files()
    watermark = version.properties.get(WATERMARK)
    return {
        "dagster/row_count": version.row_count,
        "dagster/table_name": str(version.name),
        "dagster/column_schema": column_schema(version.schema),
        "dagster/storage_kind": "iceberg",
        # as text: ids exceed the range in which JavaScript numbers are exact (2**53)
        "snapshot_id": str(version.snapshot_id),
        "parent_snapshot_id": str(record.parent_id) if record else "None",
        "changed": before is None or before.snapshot_id != version.snapshot_id,
        "files_before": 0 if before is None else len(before.files()),
        "files_after": len(files),
        "bytes": sum(file.bytes for file in files),
        "inputs": json.loads(json.dumps({k: str(v) for k, v in record.inputs.items()}))
        if record
        else {},
        **({} if watermark is None else {"watermark": _time(int(watermark))}),
    }


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Describe columns by name, Arrow type and nullability."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=str(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def _time(epoch_us: int) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(epoch_us / 1e6, tz=UTC))
