"""Exports a snapshot of a table of the lake to a Paimon table: all of its rows, in one commit.

The Paimon snapshot names the snapshot of the lake in its own properties, so an export that was killed
after its commit is found and not repeated.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headrace.crash_points import crash_point
from headrace.definitions.properties import PAIMON_EXPORT
from headrace.errors import (
    DuplicateKeyError,
    PaimonReadError,
    PaimonTargetError,
    SnapshotNotFoundError,
)
from headrace.interop.paimon import support
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.table import PaimonTable
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_BY_KEY = {"bucket": "1", "file.format": "parquet"}
_APPENDED = {"bucket": "-1", "file.format": "parquet"}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export did: `written` is False where the Paimon table had these rows already."""

    table: str
    source_snapshot_id: int
    target: str
    snapshot_id: int
    rows: int
    written: bool


def export_version(
    lake: OpenLake,
    version: TableVersion,
    warehouse: PaimonWarehouse,
    target: str,
    *,
    keys: Sequence[str] = (),
    tag: str | None = None,
) -> ExportResult:
    """Replace the rows of a Paimon table by those of `version`; the table is created if need be.

    With `keys` a new table has them as its primary key, else it has none. With `tag` the Paimon
    snapshot gets a tag. Exporting the same snapshot again writes nothing. Only tables that exports
    of this table made are written: Paimon's own writers would be undone, and lose commits that
    they make at the same moment.

    Raises:
        DuplicateKeyError: If rows have the same key; Paimon would keep any of them.
        PaimonTargetError: If the Paimon table is not an export of this table, or has other keys.
        PaimonReadError: If another program replaced the rows while they were written.
        PaimonTagExistsError: If the tag names another snapshot.
        PaimonUnsupportedError: If a column has a type that Paimon tables are not read back with.
        SnapshotNotFoundError: If the table has no commits.

    """
    if version.snapshot_id is None:
        raise SnapshotNotFoundError(str(version.name), "snapshot yet")
    with lake.locks.hold(f"paimon.{target}"):
        table, is_new = _target(warehouse, target, version.schema, keys=keys)
        there = _exported(table, version)
        if there is None:
            _refuse_repeats(version, table.definition.keys, target=target)
            table.write(version.batches(), properties=_said(version), replace=not is_new)
            crash_point("paimon.after_export")
            there = _exported(table, version)
            if there is None:
                raise PaimonReadError(target, "another writer replaced the rows of this export")
            written = True
        else:
            written = False
        if tag is not None:
            table.create_tag(tag, snapshot_id=there)
    return ExportResult(
        table=str(version.name),
        source_snapshot_id=version.snapshot_id,
        target=target,
        snapshot_id=there,
        rows=version.row_count,
        written=written,
    )


def _target(
    warehouse: PaimonWarehouse, target: str, schema: pa.Schema, *, keys: Sequence[str]
) -> tuple[PaimonTable, bool]:
    if target in warehouse.names():
        table = warehouse.table(target)
        if keys and tuple(keys) != table.definition.keys:
            listed = ", ".join(f"`{key}`" for key in table.definition.keys) or "none"
            raise PaimonTargetError(target, f"its primary key is {listed}")
        return table, False
    described = warehouse.describe(
        target, schema, keys=keys, options=_BY_KEY if keys else _APPENDED
    )
    support.refuse_unknown(described, version=warehouse.version)
    return warehouse.create(described), True


def _exported(table: PaimonTable, version: TableVersion) -> int | None:
    """Return the newest snapshot if it is an export of this version; None if it has to be written.

    Raises:
        PaimonTargetError: If the newest snapshot is not an export of this table.

    """
    newest = next(reversed(table.snapshots()), None)
    if newest is None:
        return None
    text = newest.properties.get(PAIMON_EXPORT)
    said = {} if text is None else json.loads(text)
    if said.get("table") != str(version.name):
        of = said.get("table", "another program")
        detail = f"its snapshot {newest.id} is of `{of}`, not an export of `{version.name}`"
        raise PaimonTargetError(table.name, detail)
    return newest.id if said["snapshot_id"] == str(version.snapshot_id) else None


def _said(version: TableVersion) -> dict[str, str]:
    said = {"table": str(version.name), "snapshot_id": str(version.snapshot_id)}
    return {PAIMON_EXPORT: json.dumps(said, sort_keys=True)}


def _refuse_repeats(version: TableVersion, keys: Sequence[str], *, target: str) -> None:
    """Refuse rows with equal keys; holds the key columns in memory."""
    if not keys:
        return
    batches = list(version.batches(columns=keys))
    found = pa.Table.from_batches(batches, version.schema.empty_table().select(list(keys)).schema)
    counted = found.group_by(list(keys)).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted.column("count_all"), 1))
    if repeated.num_rows:
        first = repeated.slice(0, 1).drop_columns(["count_all"]).to_pylist()[0]
        example = ", ".join(f"{name}={value}" for name, value in first.items())
        raise DuplicateKeyError(target, example=example, keys=repeated.num_rows)
