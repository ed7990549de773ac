"""Conditions on rows, evaluated both on data files and on rows.

A row matches where the condition is true in SQL's three-valued logic; where it is null it does not.
pyiceberg's evaluators use two-valued logic (null is unequal to 5 there) and treat a missing null
count as zero. Before a file is dropped unread, they evaluate a stricter condition. Bounds that may
not hold for all rows are checked against the file's footer: see `BoundsProof`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, reduce
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    BoundEqualTo,
    BoundGreaterThan,
    BoundGreaterThanOrEqual,
    BoundIsNaN,
    BoundIsNull,
    BoundLessThan,
    BoundLessThanOrEqual,
    BoundLiteralPredicate,
    BoundNotEqualTo,
    BoundNotIn,
    BoundNotNaN,
    BoundNotNull,
    BoundNotStartsWith,
    BoundPredicate,
    BoundSetPredicate,
    BoundStartsWith,
    IsNull,
    NotNaN,
    NotNull,
    Or,
    UnboundPredicate,
)
from pyiceberg.expressions.visitors import (
    bind,
    expression_evaluator,
    inclusive_projection,
    manifest_evaluator,
)
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import StructProtocol
from pyiceberg.types import DoubleType, FloatType

from headrace.dml.condition_text import column_of, map_leaves, read_condition
from headrace.iceberg.bounds import BoundsProof
from headrace.iceberg.inspected import Inspector
from headrace.iceberg.pyiceberg_calls import may_match, must_match

_COMPARE: Mapping[type[BoundPredicate], Callable[[pa.Array, pa.Scalar], pa.Array]] = {
    BoundEqualTo: pc.equal,
    BoundNotEqualTo: pc.not_equal,
    BoundLessThan: pc.less,
    BoundLessThanOrEqual: pc.less_equal,
    BoundGreaterThan: pc.greater,
    BoundGreaterThanOrEqual: pc.greater_equal,
    BoundStartsWith: lambda column, prefix: pc.starts_with(column, prefix.as_py()),
    BoundNotStartsWith: lambda column, prefix: pc.invert(pc.starts_with(column, prefix.as_py())),
}
_TEST: Mapping[type[BoundPredicate], Callable[[pa.Array], pa.Array]] = {
    BoundIsNull: pc.is_null,
    BoundNotNull: pc.is_valid,
    BoundIsNaN: pc.is_nan,
    BoundNotNaN: lambda column: pc.invert(pc.is_nan(column)),
}


class Condition:
    """A condition checked against the columns of a table at one version."""

    def __init__(
        self,
        wanted: str | BooleanExpression,
        metadata: TableMetadata,
        *,
        table: str,
        inspector: Inspector | None = None,
    ) -> None:
        """Parse a condition and check it against the table's columns.

        Raises:
            ConditionError: If it cannot be parsed, names a column that the table does not have, or
                compares one with a value of another type.

        """
        schema = metadata.schema()
        checked = read_condition(wanted, schema, table=table)
        columns: set[str] = set()

        def provable(leaf: UnboundPredicate) -> BooleanExpression:
            columns.add(column_of(leaf))
            return _provable(leaf, schema)

        strict = map_leaves(checked, provable)
        self.columns = tuple(sorted(columns))
        self._metadata, self._checked = metadata, checked
        self._bound = bind(schema, checked, case_sensitive=True)
        self._may = may_match(schema, checked)
        self._must = must_match(schema, strict)
        self._proof = BoundsProof(metadata, columns, inspector=inspector)

    def may_match(self, file: DataFile) -> bool:
        """Whether rows of a data file may match, by its partition and bounds."""
        test = self._partition_tests.get(file.spec_id)
        if test is not None and not test(file.partition):
            return False
        if self._may(file):
            return True
        return self._proof.is_doubtful(file) and self._may(self._proof.proved(file))

    def must_match(self, file: DataFile) -> bool:
        """Whether the bounds of a data file prove that all of its rows match."""
        if not self._must(file):
            return False
        return not self._proof.is_doubtful(file) or self._must(self._proof.proved(file))

    def may_list(self, manifest: ManifestFile) -> bool:
        """Whether a manifest may list a file with matching rows."""
        test = self._manifest_tests.get(manifest.partition_spec_id)
        return test is None or test(manifest)

    def matches(self, batch: pa.RecordBatch) -> pa.Array:
        """Which rows match: booleans without null. The batch has the columns of `columns`."""
        return _matches(self._bound, batch)

    @cached_property
    def _projected(self) -> Mapping[int, BooleanExpression]:
        """The condition projected onto partitions, by spec id; none where a column was dropped."""
        schema = self._metadata.schema()
        return {
            spec_id: inclusive_projection(schema, spec)(self._checked)
            for spec_id, spec in self._metadata.specs().items()
            if all(each.source_id in schema.field_ids for each in spec.fields)
        }

    @cached_property
    def _manifest_tests(self) -> Mapping[int, Callable[[ManifestFile], bool]]:
        schema, specs = self._metadata.schema(), self._metadata.specs()
        return {
            spec_id: manifest_evaluator(specs[spec_id], schema, projected)
            for spec_id, projected in self._projected.items()
        }

    @cached_property
    def _partition_tests(self) -> Mapping[int, Callable[[StructProtocol], bool]]:
        schema, specs = self._metadata.schema(), self._metadata.specs()
        return {
            spec_id: expression_evaluator(
                Schema(*specs[spec_id].partition_type(schema).fields),
                projected,
                case_sensitive=True,
            )
            for spec_id, projected in self._projected.items()
        }


def _provable(leaf: UnboundPredicate, schema: Schema) -> BooleanExpression:
    """Require proof that a column has no null and no NaN before its bounds prove a match."""
    if isinstance(leaf, IsNull | NotNull):
        return leaf
    proven = And(leaf, NotNull(term=leaf.term))
    if isinstance(schema.find_type(column_of(leaf)), FloatType | DoubleType):
        return And(proven, NotNaN(term=leaf.term))
    return proven


def _matches(expression: BooleanExpression, batch: pa.RecordBatch) -> pa.Array:
    match expression:
        case And(left=left, right=right):
            return pc.and_(_matches(left, batch), _matches(right, batch))
        case Or(left=left, right=right):
            return pc.or_(_matches(left, batch), _matches(right, batch))
        case BoundPredicate():
            column = batch.column(expression.term.ref().field.name)
            if isinstance(column, pa.ExtensionArray):
                column = column.storage
            return pc.fill_null(_compared(expression, column), fill_value=False)
        case _:
            return pa.repeat(isinstance(expression, AlwaysTrue), batch.num_rows)


def _compared(leaf: BoundPredicate, column: pa.Array) -> pa.Array:
    if isinstance(leaf, BoundSetPredicate):
        values = pa.array([each.value for each in cast("set[Any]", leaf.literals)], column.type)
        if pa.types.is_floating(column.type):  # unlike SQL, `is_in` splits -0.0 and 0.0
            found = reduce(pc.or_, (pc.equal(column, value) for value in values))
        else:
            found = pc.is_in(column, value_set=values)
        return (
            pc.and_(pc.invert(found), pc.is_valid(column))
            if isinstance(leaf, BoundNotIn)
            else found
        )
    if isinstance(leaf, BoundLiteralPredicate):
        return _COMPARE[type(leaf)](column, pa.scalar(leaf.literal.value, column.type))
    return _TEST[type(leaf)](column)
