"""Project rows of an older schema to the current one; fields are resolved by Iceberg field id.

Since a file was written, a field may have been renamed, moved, widened, dropped or added, at any
depth, and its name may have been reused; its id never is. The steps are planned once from two
schemas whose fields carry ids, then applied to each batch or rendered as SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table.name_mapping import NameMapping

from headrace.errors import FileReason
from headrace.iceberg.schema import field_id, identified


@dataclass(frozen=True)
class Absent:
    """The field did not exist then: null."""

    target: pa.DataType


@dataclass(frozen=True)
class Same:
    """Nothing changed, at any depth."""

    target: pa.DataType


@dataclass(frozen=True)
class Cast:
    """The type of a primitive field changed."""

    target: pa.DataType


@dataclass(frozen=True)
class Fields:
    """A struct whose fields changed; `sources` are their old names, in the current order."""

    target: pa.DataType
    sources: tuple[tuple[str | None, "Step"], ...]


@dataclass(frozen=True)
class Elements:
    """A list whose elements changed."""

    target: pa.DataType
    element: "Step"


@dataclass(frozen=True)
class Entries:
    """A map whose keys or values changed."""

    target: pa.DataType
    key: "Step"
    value: "Step"


Step = Absent | Same | Cast | Fields | Elements | Entries


@dataclass(frozen=True, kw_only=True)
class PinnedSchema:
    """The columns of one table version, by which readers of its data files resolve names.

    The fields of `schema` carry Iceberg ids. `mapping` maps names to ids for files without ids.
    """

    schema: pa.Schema
    mapping: NameMapping | None = None

    def pick(self, names: Sequence[str]) -> pa.Schema:
        """Return some of the columns, in the order of `names`.

        Raises:
            KeyError: If there is no such column.

        """
        return pa.schema([self.schema.field(name) for name in names])


class Misfit(ValueError):
    """A column of a file, or a value of it, does not fit the table."""

    def __init__(self, detail: str, *, reason: FileReason, column: str) -> None:
        self.reason, self.column = reason, column
        super().__init__(detail)


@dataclass(frozen=True, kw_only=True)
class Projection:
    """How to convert batches of an older schema to `schema`.

    `columns` holds, for each column of `schema`, its old name and its conversion step.
    """

    schema: pa.Schema
    columns: tuple[tuple[str | None, Step], ...]

    @classmethod
    def of(cls, have: pa.Schema, wanted: pa.Schema) -> "Projection":
        """Plan the projection. Pure. Fields of both schemas must carry Iceberg ids.

        Raises:
            Misfit: If a column of `have` has no id, a required column of `wanted` is missing,
                or a type change is not allowed by schema evolution.

        """
        return cls(
            schema=pa.schema([field.remove_metadata() for field in wanted]),
            columns=_sources(list(have), list(wanted), path=""),
        )

    @classmethod
    def of_file(
        cls, found: pa.Schema, wanted: pa.Schema, *, mapping: NameMapping | None
    ) -> "Projection":
        """Plan how to convert the columns found in a data file to those of `wanted`. Pure.

        Every reader of data files uses this, so that none resolves columns by the names in a file.
        `mapping` maps names to ids for files without ids.

        Raises:
            Misfit: See `of`.

        """
        return cls.of(identified(found, mapping), wanted)

    @property
    def reads(self) -> list[str]:
        """The needed columns, by their old names."""
        return [name for name, _ in self.columns if name is not None]

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert a batch that has at least the columns `reads` to `schema`.

        Unchanged columns are not copied.

        Raises:
            Misfit: If a value does not fit the current type; it names the column.

        """
        columns: list[pa.Array] = []
        for field, (name, step) in zip(self.schema, self.columns, strict=True):
            if name is None:
                columns.append(pa.nulls(batch.num_rows, step.target))
                continue
            try:
                columns.append(convert(batch.column(name), step))
            except pa.ArrowException as error:
                msg = f"a value of its column `{field.name}` does not fit {field.type}: {error}"
                raise Misfit(msg, reason=FileReason.VALUE, column=field.name) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _sources(
    have: Sequence[pa.Field], wanted: Sequence[pa.Field], *, path: str
) -> tuple[tuple[str | None, Step], ...]:
    by_id: dict[int, pa.Field] = {}
    for field in have:
        key = field_id(field)
        if key is None:
            msg = f"its column `{path}{field.name}` has no field id, so it cannot be identified"
            raise Misfit(msg, reason=FileReason.NO_FIELD_ID, column=f"{path}{field.name}")
        by_id[key] = field
    found: list[tuple[str | None, Step]] = []
    for field in wanted:
        key = field_id(field)
        old = None if key is None else by_id.get(key)
        if old is None:
            if not field.nullable:
                msg = f"it has no column `{path}{field.name}` (field id {key}), which is required"
                column = f"{path}{field.name}"
                raise Misfit(msg, reason=FileReason.REQUIRED_COLUMN_GONE, column=column)
            found.append((None, Absent(field.type)))
        else:
            found.append((old.name, _step(old.type, field.type, path=f"{path}{field.name}")))
    return tuple(found)


def _step(have: pa.DataType, wanted: pa.DataType, *, path: str) -> Step:
    kinds = _kind(have), _kind(wanted)
    if kinds == ("struct", "struct"):
        sources = _sources(list(have), list(wanted), path=f"{path}.")
        names = [name for name, step in sources if isinstance(step, Same)]
        if have == wanted and names == [field.name for field in have]:
            return Same(wanted)
        return Fields(wanted, sources)
    if kinds == ("list", "list"):
        element = _step(have.value_type, wanted.value_type, path=f"{path}.element")
        same = have == wanted and isinstance(element, Same)
        return Same(wanted) if same else Elements(wanted, element)
    if kinds == ("map", "map"):
        key = _step(have.key_type, wanted.key_type, path=f"{path}.key")
        value = _step(have.item_type, wanted.item_type, path=f"{path}.value")
        same = have == wanted and isinstance(key, Same) and isinstance(value, Same)
        return Same(wanted) if same else Entries(wanted, key, value)
    if kinds != ("plain", "plain"):
        msg = f"its column `{path}` is a {have}, the table says {wanted}"
        raise Misfit(msg, reason=FileReason.OTHER_TYPE, column=path)
    return Same(wanted) if have == wanted else Cast(wanted)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_map(kind):
        return "map"
    return "list" if _is_any_list(kind) else "plain"


def _is_any_list(kind: pa.DataType) -> bool:
    # which of them a file returns depends on its writer: pyarrow stores its own types in files
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or _is_view(kind)
    )


def _is_view(kind: pa.DataType) -> bool:
    return pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)


def convert(array: pa.Array, step: Step) -> pa.Array:
    """Apply a step to one column or field.

    Raises:
        pyarrow.ArrowException: If a value does not fit the target.

    """
    match step:
        case Same():
            return array
        case Absent():
            return pa.nulls(len(array), step.target)
        case Cast():
            return array.cast(step.target)
        case Fields():
            return _structs(array, step)
        case Elements():
            return _lists(_as_lists(array), step)
        case Entries():
            return _maps(array, step)


def _structs(array: pa.StructArray, step: Fields) -> pa.Array:
    children = [
        pa.nulls(len(array), each.target)
        if name is None
        else convert(array.field(array.type.get_field_index(name)), each)
        for name, each in step.sources
    ]
    return pa.StructArray.from_arrays(children, fields=list(step.target), mask=_nulls(array))


def _as_lists(array: pa.Array) -> pa.ListArray:
    kind = array.type
    if _is_view(kind):
        # pyarrow 26 casts a slice of a list view to wrong lists, so they are built by hand
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = pc.cumulative_sum(lengths.cast(pa.int32()))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        wanted = pa.list_(kind.value_field)
        return pa.ListArray.from_arrays(offsets, array.flatten(), type=wanted, mask=_nulls(array))
    return array if pa.types.is_list(kind) else array.cast(pa.list_(kind.value_field))


def _lists(array: pa.ListArray, step: Elements) -> pa.Array:
    offsets, values = _rows(array)
    elements = convert(values, step.element)
    return pa.ListArray.from_arrays(offsets, elements, type=step.target, mask=_nulls(array))


def _maps(array: pa.MapArray, step: Entries) -> pa.Array:
    offsets, entries = _rows(array)
    keys = convert(entries.field(0), step.key)
    items = convert(entries.field(1), step.value)
    return pa.MapArray.from_arrays(offsets, keys, items, type=step.target, mask=_nulls(array))


def _rows(array: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """Return offsets from 0 and the values they cover; a slice has those of the whole array."""
    offsets = array.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    values = array.values.slice(first, last - first)
    # also if `first` is 0: pyarrow accepts no validity bitmap together with sliced offsets
    return (pc.subtract(offsets, first) if array.offset else offsets), values


def _nulls(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
