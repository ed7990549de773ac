"""Metadata of a materialized table, under the names that Dagster's pages recognize."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from headrace.definitions.properties import WATERMARK
from headrace.definitions.type_text import text_of_type
from headrace.identifiers import TableName
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion
from orchestration.lib.columns import ColumnFacts, column_schema
from orchestration.lib.observed import SEQUENCE

COLUMN_SCHEMA = "dagster/column_schema"


def pin(lake: OpenLake, name: TableName) -> TableVersion | None:
    """Pin a table before it is written; None if it does not exist yet."""
    return lake.head_of(name)


def table_result(
    lake: OpenLake,
    name: TableName,
    *,
    before: TableVersion | None,
    spec: dg.AssetSpec,
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[Any]:
    """Report a table after a write, with the descriptions of `spec`; its snapshot id is the version."""
    after = lake.table(name).head()
    return dg.MaterializeResult(
        asset_key=spec.key,
        metadata={
            **table_metadata(lake, after, before=before),
            COLUMN_SCHEMA: _columns(after, spec.metadata.get(COLUMN_SCHEMA)),
            **(metadata or {}),
        },
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
        "dagster/uri": lake.table(version.name).iceberg().location(),
        "dagster/storage_kind": "iceberg",
        # as text: ids exceed the range in which JavaScript numbers are exact (2**53)
        "snapshot_id": str(version.snapshot_id),
        "run_id": record.run_id if record else "",
        **({SEQUENCE: record.sequence_number} if record else {}),
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


def _columns(version: TableVersion, said: dg.TableSchema | None) -> dg.TableSchema:
    """Describe the columns that the table has, which may be more than were declared."""
    described = {each.name: each.description for each in said.columns} if said else {}
    return column_schema(
        ColumnFacts(
            name=field.name,
            type=text_of_type(field.type),
            description=described.get(field.name) or "",
            nullable=field.nullable,
        )
        for field in version.schema
    )


def _time(epoch_us: int) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(epoch_us / 1e6, tz=UTC))
