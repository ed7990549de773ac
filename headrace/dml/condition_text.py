"""Parse the text of a condition and check it against the columns of a table.

pyiceberg casts a literal to the type of the column: '7.9' and 1.5 become integers, a number becomes
a date, and `!=` with a value beyond an integer's range becomes true, also for null. That is unsafe
for deletes: here a value has the type of its column, or the condition is refused.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    GreaterThan,
    GreaterThanOrEqual,
    IsNaN,
    LessThan,
    LessThanOrEqual,
    LiteralPredicate,
    Not,
    NotNaN,
    NotStartsWith,
    Or,
    Reference,
    SetPredicate,
    StartsWith,
    UnboundPredicate,
    parser,
)
from pyiceberg.expressions.literals import (
    AboveMax,
    BelowMin,
    BinaryLiteral,
    BooleanLiteral,
    DateLiteral,
    DecimalLiteral,
    DoubleLiteral,
    FloatLiteral,
    Literal,
    LongLiteral,
    StringLiteral,
    TimeLiteral,
    TimestampLiteral,
    UUIDLiteral,
)
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)
from pyparsing import ParseBaseException

from headrace.decimals import rescaled
from headrace.errors import ConditionError, ConditionReason, Remedy

TEXT_CHARS_MAX = 10_000  # parsing 2,000 terms takes seconds
DEPTH_MAX = 64  # each level uses several of Python's 1,000 stack frames, here and in pyiceberg
_FITTING: Mapping[type[IcebergType], tuple[type[Literal[Any]], ...]] = {
    BooleanType: (BooleanLiteral,),
    IntegerType: (LongLiteral,),
    LongType: (LongLiteral,),
    FloatType: (LongLiteral, DecimalLiteral, DoubleLiteral, FloatLiteral),
    DoubleType: (LongLiteral, DecimalLiteral, DoubleLiteral, FloatLiteral),
    DecimalType: (LongLiteral, DecimalLiteral),
    StringType: (StringLiteral,),
    DateType: (StringLiteral, DateLiteral),
    TimeType: (StringLiteral, TimeLiteral),
    TimestampType: (StringLiteral, TimestampLiteral),
    TimestamptzType: (StringLiteral, TimestampLiteral),
    UUIDType: (StringLiteral, UUIDLiteral),
    BinaryType: (BinaryLiteral,),
    FixedType: (BinaryLiteral,),
}


def read_condition(
    wanted: str | BooleanExpression, schema: Schema, *, table: str
) -> BooleanExpression:
    """Parse a condition and give its values the types of their columns; the result has no negations.

    Raises:
        ConditionError: If it cannot be parsed, is too long or deep, names a column that the table
            does not have, or compares one with a value of another type.

    """
    expression = _parse(wanted, table=table) if isinstance(wanted, str) else wanted
    if _depth(expression) > DEPTH_MAX:
        detail = f"it is nested more than {DEPTH_MAX} deep"
        remedy = Remedy(advice="use `in (…)` for one column's values")
        raise ConditionError(table, detail, reason=ConditionReason.TOO_DEEP, remedy=remedy)
    # with negations pushed down to the columns, the rest of the condition is monotone
    floats = {f.name for f in schema.fields if isinstance(f.field_type, FloatType | DoubleType)}
    plain = _without_not(expression, floats, is_negated=False)
    return map_leaves(plain, lambda leaf: _fitted(leaf, schema, table))


def _without_not(
    expression: BooleanExpression, floats: Collection[str], *, is_negated: bool
) -> BooleanExpression:
    """Push negations down to the columns and into their comparisons.

    NaN is neither less nor greater than any value, so a value that is not less may be NaN.
    pyiceberg's own `rewrite_not` ignores this.
    """
    match expression:
        case Not():
            return _without_not(expression.child, floats, is_negated=not is_negated)
        case And() | Or():
            left, right = (
                _without_not(each, floats, is_negated=is_negated)
                for each in (expression.left, expression.right)
            )
            return (
                And(left, right) if isinstance(expression, And) != is_negated else Or(left, right)
            )
        case _ if not is_negated:
            return expression
        case LessThan() | LessThanOrEqual() | GreaterThan() | GreaterThanOrEqual() if (
            column_of(expression) in floats
        ):
            return Or(~expression, IsNaN(term=expression.term))
        case _:
            return ~expression


def map_leaves(
    expression: BooleanExpression, change: Callable[[UnboundPredicate], BooleanExpression]
) -> BooleanExpression:
    """Apply a function to every comparison of an expression without negations."""
    match expression:
        case And():
            return And(map_leaves(expression.left, change), map_leaves(expression.right, change))
        case Or():
            return Or(map_leaves(expression.left, change), map_leaves(expression.right, change))
        case UnboundPredicate():
            return change(expression)
        case _:
            return expression


def column_of(leaf: UnboundPredicate) -> str:
    """Return the name of the column that a comparison tests."""
    term = leaf.term
    return term.name if isinstance(term, Reference) else str(term)


def _parse(text: str, *, table: str) -> BooleanExpression:
    if len(text) > TEXT_CHARS_MAX:
        detail = f"it has {len(text):,} characters, {TEXT_CHARS_MAX:,} are allowed"
        raise ConditionError(table, detail, reason=ConditionReason.TOO_LONG)
    try:
        return parser.parse(text)
    except ParseBaseException as error:
        detail = f"`{text[:200]}` cannot be parsed at character {error.loc + 1}"
        raise ConditionError(
            table,
            detail,
            reason=ConditionReason.NOT_PARSED,
            remedy=Remedy(advice="write it like `user_id = 7 and name is not null`"),
        ) from error
    except (ValueError, RecursionError) as error:
        detail = f"`{text[:200]}`: {str(error)[:200]}"
        raise ConditionError(table, detail, reason=ConditionReason.NOT_PARSED) from error


def _depth(expression: BooleanExpression) -> int:
    level, depth = [expression], 0
    while level and depth <= DEPTH_MAX:
        depth += 1
        level = [
            child
            for each in level
            for name in ("left", "right", "child")
            if isinstance(child := getattr(each, name, None), BooleanExpression)
        ]
    return depth


def _fitted(leaf: UnboundPredicate, schema: Schema, table: str) -> BooleanExpression:
    name = column_of(leaf)
    field = next((each for each in schema.fields if each.name == name), None)
    if field is None:
        columns = ", ".join(each.name for each in schema.fields)
        detail = f"`{table}` has no column `{name}`; conditions may name {columns}"
        raise ConditionError(table, detail, reason=ConditionReason.UNKNOWN_COLUMN, column=name)
    kind = field.field_type
    text = f"`{name}`, which is {kind},"
    if isinstance(leaf, StartsWith | NotStartsWith) and not isinstance(kind, StringType):
        raise ConditionError(
            table,
            f"{text} needs a string column: only strings have a prefix",
            reason=ConditionReason.NO_PREFIX,
            column=name,
        )
    if isinstance(leaf, IsNaN | NotNaN) and not isinstance(kind, FloatType | DoubleType):
        reason = ConditionReason.NEVER_NAN
        raise ConditionError(table, f"{text} is never NaN", reason=reason, column=name)
    try:
        if isinstance(leaf, LiteralPredicate):
            return type(leaf)(term=leaf.term, value=_as(leaf.literal, kind))
        if isinstance(leaf, SetPredicate):
            return type(leaf)(leaf.term, {_as(each, kind) for each in leaf.literals})
    except (TypeError, ValueError, ArithmeticError) as error:
        detail = f"{text} cannot be compared: {error}"
        reason = ConditionReason.NOT_COMPARABLE
        raise ConditionError(table, detail, reason=reason, column=name) from error
    return leaf


def _as(literal: Literal[Any], kind: IcebergType) -> Literal[Any]:
    """Cast a literal to the type of its column without changing its value."""
    if not isinstance(literal, _FITTING.get(type(kind), ())) or not isinstance(kind, PrimitiveType):
        msg = f"{literal.value!r} is of another type"
        raise TypeError(msg)
    if isinstance(kind, DecimalType):
        exact = rescaled(literal.value, precision=kind.precision, scale=kind.scale)
        if exact is None:
            msg = f"{literal.value} does not fit"
            raise ValueError(msg)
        return DecimalLiteral(exact)
    if isinstance(literal, StringLiteral) and isinstance(kind, TimestampType | TimestamptzType):
        literal = StringLiteral(literal.value.replace(" ", "T", 1).replace("Z", "+00:00"))
    found = cast("Literal[Any]", literal.to(kind))
    beyond = isinstance(found, DoubleLiteral) and math.isinf(found.value) and literal != found
    if isinstance(found, AboveMax | BelowMin) or beyond:
        msg = f"{literal.value!r} is beyond its range"
        raise ValueError(msg)
    if isinstance(kind, FloatType):
        # the column's values are rounded to 32 bits: without rounding, 0.3 never matches
        return FloatLiteral(float(np.float32(found.value)))
    return found
