"""Delete files as other engines write them, committed the way they do: a format 2 delete manifest."""

import contextlib
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestWriterV2,
)
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId
from pyiceberg.typedef import Record

from headrace.iceberg import manifests, schema
from headrace.iceberg.manifest_writer import ManifestSet, _added, _Writer
from headrace.iceberg.updates import make_ref, set_ref
from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry

_PATH_ID, _POS_ID = 2147483546, 2147483545


def _field(name: str, kind: pa.DataType, field_id: int) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={schema.FIELD_ID: str(field_id).encode()})


def delete_positions(
    table: LakeTable,
    gone: Mapping[FileEntry, Sequence[int]],
    *,
    bounded: bool = True,
    file_format: FileFormat = FileFormat.PARQUET,
) -> int:
    """Delete rows by position, all in one file of the first entry's partition.

    `bounded` files that concern one data file say so in their bounds, as most engines do.
    """
    rows = sorted((file.data_file.file_path, pos) for file, each in gone.items() for pos in each)
    found = pa.table(
        [[path for path, _ in rows], [pos for _, pos in rows]],
        schema=pa.schema(
            [_field("file_path", pa.string(), _PATH_ID), _field("pos", pa.int64(), _POS_ID)]
        ),
    )
    first = next(iter(gone))
    bounds = {_PATH_ID: rows[0][0].encode()}, {_PATH_ID: rows[-1][0].encode()}
    return _commit(
        table,
        found,
        content=DataFileContent.POSITION_DELETES,
        partition=first.data_file.partition,
        bounds=bounds if bounded and len(gone) == 1 else ({}, {}),
        file_format=file_format,
    )


def delete_values(table: LakeTable, rows: pa.Table, *, partition: Record | None = None) -> int:
    """Delete every older row that equals one of `rows` in all of their columns; null equals null."""
    current = table.iceberg().schema()
    ids = [current.find_field(name).field_id for name in rows.column_names]
    fields = [
        f.with_metadata({schema.FIELD_ID: str(i).encode()})
        for f, i in zip(rows.schema, ids, strict=True)
    ]
    return _commit(
        table,
        rows.cast(pa.schema(fields)),
        content=DataFileContent.EQUALITY_DELETES,
        partition=partition or Record(),
        equality_ids=ids,
    )


@contextlib.contextmanager
def written_with_long_ids(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let manifests be written as they were before ids of columns had the format's type."""
    with monkeypatch.context() as patch:
        patch.setattr(_Writer, "_with_partition", ManifestWriterV2._with_partition)
        yield


def _commit(
    table: LakeTable,
    rows: pa.Table,
    *,
    content: DataFileContent,
    partition: Record,
    equality_ids: list[int] | None = None,
    bounds: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {}),
    file_format: FileFormat = FileFormat.PARQUET,
) -> int:
    current = table.iceberg()
    location = f"{current.location()}/data/delete-{uuid.uuid4()}.parquet"
    path = Path(local_path(location))
    path.parent.mkdir(
        parents=True, exist_ok=True
    )  # not there if the table keeps its data elsewhere
    pq.write_table(rows, path, write_page_checksum=True)
    file = DataFile.from_args(
        content=content,
        file_path=location,
        file_format=file_format,
        partition=partition,
        record_count=rows.num_rows,
        file_size_in_bytes=len(current.io.new_input(location)),
        lower_bounds=bounds[0],
        upper_bounds=bounds[1],
        equality_ids=equality_ids,
    )
    file.spec_id = current.metadata.default_spec_id
    return _add(table, file)


def _add(table: LakeTable, file: DataFile) -> int:
    current = table.iceberg()
    metadata, parent = current.metadata, current.metadata.current_snapshot()
    snapshot_id = metadata.new_snapshot_id()
    builder = ManifestSet(metadata, current.io, snapshot_id=snapshot_id)
    fresh = builder._write(
        [_added(file, snapshot_id)], spec_id=file.spec_id, content=ManifestContent.DELETES
    )
    parent_id = parent.snapshot_id if parent else None
    kept = manifests.manifests_of(parent, current.io)
    kind = "position" if file.content == DataFileContent.POSITION_DELETES else "equality"
    before = parent.summary.additional_properties if parent and parent.summary else {}
    totals = {k: v for k, v in before.items() if k.startswith("total-")}
    for name, count in (("delete-files", 1), (f"{kind}-deletes", file.record_count)):
        totals[f"total-{name}"] = str(int(totals.get(f"total-{name}", 0)) + count)
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": snapshot_id,
            "parent-snapshot-id": parent_id,
            "manifest-list": builder.write_list([fresh, *kept], parent_id=parent_id),
            "sequence-number": metadata.next_sequence_number(),
            "timestamp-ms": max(time.time_ns() // 1_000_000, metadata.last_updated_ms),
            "summary": Summary(operation=Operation.DELETE, **totals),
            "schema-id": metadata.current_schema_id,
        }
    )
    table.lake.catalog.commit_table(
        current,
        (AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": parent_id}),),
        (
            AddSnapshotUpdate(snapshot=snapshot),
            set_ref(MAIN_BRANCH, make_ref(snapshot_id, SnapshotRefType.BRANCH)),
        ),
    )
    return snapshot_id
