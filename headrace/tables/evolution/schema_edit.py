"""Edits of an Iceberg schema, one per kind of change; pure, at any depth, and strict.

After every edit, rows of the previous schema are read correctly by field id.
"""

import difflib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import pyarrow as pa
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.types import (
    IcebergType,
    ListType,
    MapType,
    NestedField,
    StructType,
)

from headrace.errors import AlterRefusedError, ColumnReason, ContractError, Remedy
from headrace.iceberg import schema as schemas
from headrace.iceberg.pyiceberg_calls import id_of_path
from headrace.identifiers import is_reserved, plain_name
from headrace.tables.evolution.steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    SchemaStep,
    WidenColumn,
)

_WIDENINGS = "int to long, float to double, and a decimal to more digits of the same scale"
_LISTED_MAX = 40
_Edit = Callable[[list[NestedField]], list[NestedField]]


def edit(schema: Schema, step: SchemaStep, *, last_column_id: int, table: str) -> Schema:
    """Apply one step. Pure. New fields get ids above `last_column_id`, in order.

    Raises:
        AlterRefusedError: If the step would lose or misread rows, or names an unknown column.
        InvalidNameError: If a new name is not a plain lower-case identifier.

    """
    return _Editor(schema, last_column_id=last_column_id, table=table, column=step.path).take(step)


@dataclass(frozen=True, kw_only=True)
class _At:
    """A field and its struct; `parent` is None for a top-level column."""

    field: NestedField
    path: str
    parent: NestedField | None
    siblings: tuple[NestedField, ...]


class _Editor:
    def __init__(self, schema: Schema, *, last_column_id: int, table: str, column: str) -> None:
        self._schema, self._table, self._column = schema, table, column
        self._ids = itertools.count(last_column_id + 1)

    def take(self, step: SchemaStep) -> Schema:
        match step:
            case AddColumn():
                return self._add(step)
            case DropColumn():
                return self._drop(step)
            case RenameColumn():
                return self._rename(step)
            case MoveColumn():
                return self._move(step)
            case WidenColumn():
                return self._widen(step)
            case MakeOptional():
                return self._make_optional(step)

    def _add(self, step: AddColumn) -> Schema:
        parent_path, dot, name = step.path.rpartition(".")
        self._check_name(name, is_column=not dot)
        parent = self._find(parent_path) if dot else None
        if parent is not None and not isinstance(parent.field_type, StructType):
            detail = f"`{parent_path}` is not a struct, so it has no columns"
            remedy = _below(parent, parent_path, name=name)
            self._refuse(ColumnReason.NOT_A_STRUCT, detail, remedy=remedy)
        self._refuse_taken(name, _children(self._schema, parent), path=step.path)
        try:
            asked = schemas.to_iceberg(pa.schema([pa.field(name, step.type)]), table=self._table)
        except ContractError as error:
            detail = f"`{step.path}` cannot be {step.type}: {error.detail}"
            self._refuse(ColumnReason(error.reason), detail)
        new = assign_fresh_schema_ids(asked, lambda: next(self._ids)).fields[0]
        return self._edited(parent, lambda fields: [*fields, new])

    def _check_name(self, name: str, *, is_column: bool) -> None:
        plain_name(name, kind="column name")
        if is_column and is_reserved(name):
            detail = f"`{name}` is reserved by Iceberg for a metadata column"
            self._refuse(ColumnReason.RESERVED_NAME, detail)

    def _drop(self, step: DropColumn) -> Schema:
        at = self._member(step.path, verb="dropped")
        if len(at.siblings) == 1:
            whole = f"struct `{at.path.rpartition('.')[0]}`" if at.parent else "the table"
            detail = f"`{step.path}` is the last column of {whole}, which cannot be empty"
            self._refuse(ColumnReason.LAST_COLUMN, detail)
        gone = at.field.field_id
        return self._edited(at.parent, lambda fields: [f for f in fields if f.field_id != gone])

    def _rename(self, step: RenameColumn) -> Schema:
        at = self._member(step.path, verb="renamed")
        self._check_name(step.to, is_column=at.parent is None)
        others = [f for f in at.siblings if f.field_id != at.field.field_id]
        parent_path = at.path.rpartition(".")[0]
        self._refuse_taken(
            step.to, others, path=f"{parent_path}.{step.to}" if parent_path else step.to
        )
        return self._replaced(_with(at.field, name=step.to))

    def _move(self, step: MoveColumn) -> Schema:
        at = self._member(step.path, verb="moved")
        rest = [f for f in at.siblings if f.field_id != at.field.field_id]
        position = 0
        if step.where != "first":
            parent_path, _, name = step.other.rpartition(".")
            if parent_path not in ("", at.path.rpartition(".")[0]):
                name = ""
            names = [f.name for f in rest]
            if name not in names:
                listed = ", ".join(f"`{each}`" for each in names) or "none"
                self._refuse(
                    ColumnReason.NOT_A_SIBLING,
                    f"`{step.path}` cannot be {step.where} `{step.other}`, which is not another "
                    f"column of the same struct; those are {listed}",
                )
            position = names.index(name) + (step.where == "after")
        return self._edited(at.parent, lambda _: [*rest[:position], at.field, *rest[position:]])

    def _widen(self, step: WidenColumn) -> Schema:
        found = self._find(step.path)
        try:
            asked = schemas.to_iceberg(pa.schema([pa.field("c", step.type)]), table=self._table)
        except ContractError as error:
            detail = f"`{step.path}` cannot become {step.type}: {error.detail}"
            self._refuse(ColumnReason(error.reason), detail)
        new = asked.fields[0]
        wider = new.field_type
        if wider == found.field_type:
            return self._schema
        if not schemas.is_wider(schemas.arrow_type(found), schemas.arrow_type(new)):
            self._refuse(
                ColumnReason.NOT_WIDER,
                f"`{step.path}` is {found.field_type} and cannot become {wider}: older values would "
                f"be read differently; allowed are {_WIDENINGS}",
            )
        return self._replaced(_with(found, field_type=wider))

    def _make_optional(self, step: MakeOptional) -> Schema:
        found = self._find(step.path)
        if not found.required:
            return self._schema
        for name in sorted(self._schema.identifier_field_names()):
            if f"{name}.".startswith(f"{step.path}."):
                detail = f"`{name}` is part of its row identity and cannot be made optional"
                self._refuse(ColumnReason.ROW_IDENTITY, detail)
        return self._replaced(_with(found, required=False))

    def _find(self, path: str) -> NestedField:
        # not `find_field` alone: it also accepts short forms, which may be ambiguous
        found = id_of_path(self._schema, path)
        if found is None or self._schema.find_column_name(found) != path:
            paths = [self._schema.find_column_name(i) or "" for i in self._schema.field_ids]
            near = difflib.get_close_matches(path, paths, n=1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            listed = ", ".join(f"`{each}`" for each in sorted(paths)[:_LISTED_MAX])
            detail = f"it has no column `{path}`; {hint}it has {listed}"
            self._refuse(ColumnReason.UNKNOWN_COLUMN, detail)
        self._refuse_key(path)
        return self._schema.find_field(found)

    def _member(self, path: str, *, verb: str) -> _At:
        """Find a top-level column or a struct field; elements of lists and maps are refused."""
        found = self._find(path)
        parent_path = path.rpartition(".")[0]
        parent = self._find(parent_path) if parent_path else None
        if parent is not None and not isinstance(parent.field_type, StructType):
            detail = f"`{path}` is part of the type of `{parent_path}` and cannot be {verb}"
            self._refuse(ColumnReason.PART_OF_A_TYPE, detail)
        siblings = _children(self._schema, parent)
        return _At(field=found, path=path, parent=parent, siblings=tuple(siblings))

    def _refuse_taken(self, name: str, others: Iterable[NestedField], *, path: str) -> None:
        for other in others:
            if other.name.casefold() == name.casefold():  # engines ignore case
                detail = f"there is a column `{path}` already, of type {other.field_type}"
                self._refuse(ColumnReason.NAME_TAKEN, detail)

    def _refuse_key(self, path: str) -> None:
        while path:
            parent_path, _, name = path.rpartition(".")
            parent = id_of_path(self._schema, parent_path)  # none for a column whose name has a dot
            in_map = parent is not None and isinstance(self._schema.find_type(parent), MapType)
            if in_map and name == "key":
                detail = f"`{path}` is the key of a map, and keys cannot change"
                self._refuse(ColumnReason.MAP_KEY, detail)
            path = parent_path

    def _refuse(
        self, reason: ColumnReason, detail: str, *, remedy: Remedy | None = None
    ) -> NoReturn:
        raise AlterRefusedError(
            self._table, detail, reason=reason, column=self._column, remedy=remedy
        )

    def _edited(self, parent: NestedField | None, change: _Edit) -> Schema:
        if parent is None:
            return self._schema_of(change(list(self._schema.fields)))
        if isinstance(parent.field_type, StructType):
            fields = change(list(parent.field_type.fields))
            return self._replaced(_with(parent, field_type=StructType(*fields)))
        return self._schema

    def _replaced(self, new: NestedField) -> Schema:
        return self._schema_of([_replace(each, new) for each in self._schema.fields])

    def _schema_of(self, fields: Sequence[NestedField]) -> Schema:
        there = Schema(*fields).field_ids
        keys = [each for each in self._schema.identifier_field_ids if each in there]
        return Schema(*fields, schema_id=self._schema.schema_id, identifier_field_ids=keys)


def _children(schema: Schema, parent: NestedField | None) -> tuple[NestedField, ...]:
    if parent is None:
        return schema.fields
    return parent.field_type.fields if isinstance(parent.field_type, StructType) else ()


def _below(found: NestedField, path: str, *, name: str) -> Remedy | None:
    """Spell a column of the elements of a list or of the values of a map."""
    if isinstance(found.field_type, ListType):
        return Remedy(advice=f"for those of its elements write `{path}.element.{name}`")
    if isinstance(found.field_type, MapType):
        return Remedy(advice=f"for those of its values write `{path}.value.{name}`")
    return None


def _with(found: NestedField, **changes: object) -> NestedField:
    return found.model_copy(update=changes)


def _replace(found: NestedField, new: NestedField) -> NestedField:
    """Replace the field with the id of `new` by `new`, in `found` or below it."""
    if found.field_id == new.field_id:
        return new
    kind = found.field_type
    inner: IcebergType = kind
    if isinstance(kind, StructType):
        inner = StructType(*(_replace(each, new) for each in kind.fields))
    elif isinstance(kind, ListType):
        element = _replace(kind.element_field, new)
        inner = ListType(kind.element_id, element.field_type, element_required=element.required)
    elif isinstance(kind, MapType):
        value = _replace(kind.value_field, new)
        inner = MapType(
            kind.key_id,
            kind.key_type,
            kind.value_id,
            value.field_type,
            value_required=value.required,
        )
    return _with(found, field_type=inner)
