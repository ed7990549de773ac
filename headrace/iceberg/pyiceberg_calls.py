"""Wrappers around features that PyIceberg offers only under private names.

The rest of headrace calls these. `tests/iceberg/test_pyiceberg_privates.py` lists every private name
that this package uses, with its signature.
"""

# pyright: reportPrivateUsage=false

from collections.abc import Callable, Mapping

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import _InclusiveMetricsEvaluator, _StrictMetricsEvaluator
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import CreateTableTransaction, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import MappedField, NameMapping
from pyiceberg.table.update import TableUpdate
from pyiceberg.types import NestedField


def fields_by_id(schema: Schema) -> Mapping[int, NestedField]:
    """Return every field of a schema, at any depth, by its id."""
    return schema._lazy_id_to_field


def parents_by_id(schema: Schema) -> Mapping[int, int]:
    """Return the id of the field that each nested field belongs to."""
    return schema._lazy_id_to_parent


def id_of_path(schema: Schema, path: str) -> int | None:
    """Return the id of the column of this full path or short form, if there is one."""
    return schema._name_to_id.get(path)


def mapped_field(mapping: NameMapping, path: str) -> MappedField | None:
    """Return the entry of a name mapping for the path of a column."""
    return mapping._field_by_name.get(path)


def may_match(schema: Schema, condition: BooleanExpression) -> Callable[[DataFile], bool]:
    """Return a test on a file's metrics: false if no row of the file meets the condition."""
    return _InclusiveMetricsEvaluator(schema, condition).eval


def must_match(schema: Schema, condition: BooleanExpression) -> Callable[[DataFile], bool]:
    """Return a test on a file's metrics: true if every row of the file meets the condition."""
    return _StrictMetricsEvaluator(schema, condition).eval


def creation_of(transaction: CreateTableTransaction) -> tuple[Table, tuple[TableUpdate, ...]]:
    """Return what a transaction that creates a table starts from, and its updates."""
    return transaction._table, transaction._updates


def delete_old_metadata(
    catalog: Catalog, io: FileIO, *, before: TableMetadata, after: TableMetadata
) -> None:
    """Delete the metadata files that `after` no longer lists, if its properties ask for it.

    PyIceberg does this only in commits of its own transactions.
    """
    if isinstance(catalog, MetastoreCatalog):
        catalog._delete_old_metadata(io, before, after)
