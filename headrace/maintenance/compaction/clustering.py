"""The order a table's rows should be in, which files are in it, and how far files overlap."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pyiceberg.conversions import from_bytes
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import PrimitiveType

from headrace.definitions.properties import CLUSTER_BY
from headrace.errors import Remedy, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.partitions import PartitionKey
from headrace.tables.version import FileEntry


@dataclass(frozen=True, kw_only=True)
class SortKey:
    """One column to sort by; nulls come first when ascending unless said otherwise."""

    column: str
    field_id: int
    descending: bool = False
    nulls_first: bool = True

    def __str__(self) -> str:
        return f"{self.column} desc" if self.descending else self.column


@dataclass(frozen=True, kw_only=True)
class ClusteringDepth:
    """How many files of one partition hold a value of the leading key; 1 is perfect.

    `mean` is taken over the first value of every file. 0 if there are no files.
    """

    mean: float
    max: int
    files: int


def declared_keys(metadata: TableMetadata, *, table: str) -> tuple[SortKey, ...]:
    """Read the sort keys a table declares; empty if it declares none.

    The stream's `cluster_by` comes first, then the Iceberg sort order. A sort order over column
    transforms, which other programs may declare, is ignored: headrace does not sort by transforms.

    Raises:
        UnsupportedTableError: If a key is a column that cannot be sorted by.

    """
    if CLUSTER_BY in metadata.properties:
        columns: list[str] = json.loads(metadata.properties[CLUSTER_BY])
        return keys_by_name(columns, metadata.schema(), table=table)
    fields = metadata.sort_order().fields
    if not all(isinstance(each.transform, IdentityTransform) for each in fields):
        return ()
    names = [metadata.schema().find_column_name(each.source_id) or "" for each in fields]
    keys = keys_by_name(names, metadata.schema(), table=table)
    return tuple(
        SortKey(
            column=key.column,
            field_id=key.field_id,
            descending=each.direction == SortDirection.DESC,
            nulls_first=each.null_order == NullOrder.NULLS_FIRST,
        )
        for key, each in zip(keys, fields, strict=True)
    )


def keys_by_name(columns: Sequence[str], schema: Schema, *, table: str) -> tuple[SortKey, ...]:
    """Build ascending keys of columns.

    Raises:
        UnsupportedTableError: If a column does not exist, or holds lists or structs.

    """
    found: list[SortKey] = []
    for name in columns:
        field = next((each for each in schema.fields if each.name == name), None)
        if field is None or not isinstance(field.field_type, PrimitiveType):
            what = "it does not have" if field is None else "which has no order"
            raise UnsupportedTableError(
                table,
                f"it is to be sorted by `{name}`, {what}",
                reason=UnsupportedReason.SORT_COLUMN,
                column=name,
                remedy=Remedy(advice="pack its files instead of sorting"),
            )
        found.append(SortKey(column=name, field_id=field.field_id))
    return tuple(found)


def sort_order_of(keys: Sequence[SortKey], *, order_id: int) -> SortOrder:
    """Build the Iceberg sort order of these keys."""
    fields = [
        SortField(
            source_id=key.field_id,
            transform=IdentityTransform(),
            direction=SortDirection.DESC if key.descending else SortDirection.ASC,
            null_order=NullOrder.NULLS_FIRST if key.nulls_first else NullOrder.NULLS_LAST,
        )
        for key in keys
    ]
    return SortOrder(*fields, order_id=order_id)


def find_order(metadata: TableMetadata, keys: Sequence[SortKey]) -> int | None:
    """Find the id of the table's sort order with these keys; files that have it carry this id."""
    wanted = sort_order_of(keys, order_id=0).fields
    found = (each.order_id for each in metadata.sort_orders if keys and each.fields == wanted)
    return next(found, None)


def clustering_depth(
    files: Iterable[FileEntry], key: SortKey, *, schema: Schema
) -> ClusteringDepth:
    """Compute from bounds alone how many files a look-up of one value opens.

    Pure. Each partition is measured separately. A file without bounds may hold any value; a file
    of nulls only holds none.
    """
    kind = schema.find_type(key.field_id)
    by_partition: dict[tuple[int, PartitionKey], list[FileEntry]] = {}
    for file in files:
        nulls = (file.data_file.null_value_counts or {}).get(key.field_id)
        if nulls is None or nulls < file.rows:
            by_partition.setdefault((file.spec_id, file.partition), []).append(file)
    depths = [
        depth
        for members in by_partition.values()
        for depth in _depths([_bounds(each, key.field_id, kind) for each in members])
    ]
    if not depths:
        return ClusteringDepth(mean=0.0, max=0, files=0)
    return ClusteringDepth(mean=sum(depths) / len(depths), max=max(depths), files=len(depths))


def _bounds(file: FileEntry, field_id: int, kind: Any) -> tuple[Any, Any] | None:  # noqa: ANN401
    low = (file.data_file.lower_bounds or {}).get(field_id)
    high = (file.data_file.upper_bounds or {}).get(field_id)
    if low is None or high is None:
        return None
    return from_bytes(kind, low), from_bytes(kind, high)


def _depths(bounds: Sequence[tuple[Any, Any] | None]) -> list[int]:
    """Count, for every file, the files that hold its first value, itself included."""
    known = [each for each in bounds if each is not None]
    anywhere = len(bounds) - len(known)
    # at equal values ranges open before others close, because both ends belong to a range
    ends = sorted(
        [(low, 0) for low, _ in known] + [(high, 1) for _, high in known],
    )
    depths: list[int] = []
    opened, waiting, at = 0, 0, None
    for value, closes in ends:
        if closes or value != at:
            depths += [opened + anywhere] * waiting
            waiting, at = 0, value
        if closes:
            opened -= 1
        else:
            opened += 1
            waiting += 1
    depths += [opened + anywhere] * waiting
    return depths + [len(bounds)] * anywhere
