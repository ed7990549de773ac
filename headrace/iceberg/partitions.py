"""Partition keys: how rows, files and text identify one partition of a table.

A partition spec is a sequence of terms, each a column or an Iceberg transform of a column. A key
holds one Python value per term: `datetime.date` for days and dates, an integer for months, years,
hours and buckets, the column's value otherwise, None for null; `()` if unpartitioned.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import Transform, VoidTransform, parse_transform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    UnknownType,
)

from headrace.clock import EPOCH_DAY
from headrace.errors import (
    ColumnReason,
    ContractError,
    Remedy,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.iceberg.schema import to_iceberg
from headrace.identifiers import plain_name

PartitionKey = tuple[object, ...]

IDENTITY, DAY, VOID = "identity", "day", "void"
_CALL = re.compile(r"(day|month|year|hour|void)\(\s*([^(),\s]+)\s*\)")
_SIZED_CALL = re.compile(r"(bucket|truncate)\(\s*([1-9]\d{0,8})\s*,\s*([^(),\s]+)\s*\)")
_SIZED = re.compile(r"(bucket|truncate)\[(\d+)\]")
_SUFFIXES = {"truncate": "trunc", VOID: "null"}  # field names as in Spark and PyIceberg
_KEY_TYPES = (StringType, IntegerType, LongType, BooleanType, DateType)
_ALLOWED = (
    "use a column of strings, integers, booleans or dates, or `year`, `month`, `day` or `hour` of a "
    "time, `bucket(n, column)` or `truncate(n, column)`"
)
_FIRST_FIELD_ID = 1000  # the Iceberg specification reserves ids from 1000 for partition fields


@dataclass(frozen=True)
class Term:
    """One partition field: a column and its transform in Iceberg's notation (`bucket[16]`).

    `dates` is whether its keys are dates, which depends on the column's type.
    """

    column: str
    transform: str = IDENTITY
    dates: bool = field(default=False, compare=False)

    @classmethod
    def day(cls, column: str) -> "Term":
        """The UTC day of a time or date."""
        return cls(column, DAY, dates=True)

    @classmethod
    def parse(cls, text: str) -> "Term":
        """Read `column`, `day(column)`, `bucket(16, column)` and the like.

        Raises:
            InvalidNameError: If the text is none of these, or the column's name is not plain.

        """
        text = text.strip()
        if call := _CALL.fullmatch(text):
            name, column = call.groups()
            transform = name
        elif call := _SIZED_CALL.fullmatch(text):
            name, size, column = call.groups()
            transform = f"{name}[{size}]"
        else:
            transform, column = IDENTITY, text
        return cls(plain_name(column, kind="partition column"), transform, dates=transform == DAY)

    @property
    def by_day(self) -> bool:
        """Whether its transform is the UTC day."""
        return self.transform == DAY

    @property
    def field_name(self) -> str:
        """The name of the Iceberg partition field."""
        kind = self.transform.partition("[")[0]
        return self.column if kind == IDENTITY else f"{self.column}_{_SUFFIXES.get(kind, kind)}"

    def __str__(self) -> str:
        if self.transform == IDENTITY:
            return self.column
        sized = _SIZED.fullmatch(self.transform)
        if sized:
            return f"{sized[1]}({sized[2]}, {self.column})"
        return f"{self.transform}({self.column})"


def spec_of(terms: Sequence[Term], schema: Schema, *, table: str) -> PartitionSpec:
    """Build the Iceberg partition spec of `terms`.

    Raises:
        ContractError: If a term names a column the table does not have, or one whose type is not
            supported for partitioning.

    """
    fields: list[PartitionField] = []
    for position, term in enumerate(terms):
        if term.column not in [column.name for column in schema.fields]:
            detail = f"it is partitioned by `{term}`, which is not a column"
            reason = ColumnReason.UNKNOWN_COLUMN
            raise ContractError(table, detail, reason=reason, column=term.column)
        source = schema.find_field(term.column)
        transform = parse_transform(term.transform)
        if not _makes_keys(transform, source.field_type):
            detail = f"it cannot be partitioned by `{term}`: {_ALLOWED}"
            reason = ColumnReason.PARTITION_TRANSFORM
            raise ContractError(table, detail, reason=reason, column=term.column)
        fields.append(
            PartitionField(
                source_id=source.field_id,
                field_id=_FIRST_FIELD_ID + position,
                transform=transform,
                name=term.field_name,
            )
        )
    return PartitionSpec(*fields)


def _makes_keys(transform: Transform[object, object], source: IcebergType) -> bool:
    if isinstance(transform, VoidTransform):
        return True
    return transform.can_transform(source) and isinstance(transform.result_type(source), _KEY_TYPES)


def terms_of(spec: PartitionSpec, schema: Schema) -> tuple[Term, ...]:
    """Read the terms of an Iceberg partition spec.

    A column that is not in `schema` is given the name of its partition field.
    """
    return tuple(_term_of(each, schema) for each in spec.fields)


def _term_of(each: PartitionField, schema: Schema) -> Term:
    is_there = each.source_id in schema.field_ids
    source = schema.find_type(each.source_id) if is_there else UnknownType()
    result = each.transform.result_type(source)
    return Term(
        (schema.find_column_name(each.source_id) or "") if is_there else each.name,
        str(each.transform),
        dates=isinstance(result, DateType),
    )


def schema_of_spec(metadata: TableMetadata, spec: PartitionSpec) -> Schema:
    """Find the newest schema with every column that `spec` partitions by, else the current one.

    Columns of an old spec may have been dropped since, and the schemas that had them removed.
    """
    wanted = {each.source_id for each in spec.fields}
    newest_first = [metadata.schema(), *sorted(metadata.schemas, key=lambda s: -s.schema_id)]
    return next((s for s in newest_first if wanted <= s.field_ids), metadata.schema())


def all_terms(metadata: TableMetadata) -> Mapping[int, tuple[Term, ...]]:
    """Read the terms of every partition spec of the table, by spec id."""
    return {
        spec_id: terms_of(spec, schema_of_spec(metadata, spec))
        for spec_id, spec in metadata.specs().items()
    }


def sourceless_ids(metadata: TableMetadata) -> frozenset[int]:
    """Return the ids of specs that partition by a column that no schema has any more."""
    known = frozenset().union(*(schema.field_ids for schema in metadata.schemas))
    return frozenset(
        spec.spec_id
        for spec in metadata.partition_specs
        if any(each.source_id not in known for each in spec.fields)
    )


def unpartitioned_ids(metadata: TableMetadata) -> frozenset[int]:
    """Return the ids of specs with a single partition: they have no field, or only `void` ones.

    A format version 1 table keeps dropped partition fields as `void`.
    """
    return frozenset(
        spec_id for spec_id, spec in metadata.specs().items() if not partitioning_fields(spec)
    )


def partitioning_fields(spec: PartitionSpec) -> tuple[PartitionField, ...]:
    """Return the fields that distinguish partitions, without `void` fields, which are always null."""
    return tuple(each for each in spec.fields if not isinstance(each.transform, VoidTransform))


@dataclass(frozen=True, kw_only=True)
class CurrentSpec:
    """The current partition spec of a table, which new files are written in."""

    table: str
    spec_id: int
    terms: tuple[Term, ...]

    @classmethod
    def of(cls, metadata: TableMetadata, *, table: str) -> "CurrentSpec":
        """Read the current spec."""
        return cls(
            table=table,
            spec_id=metadata.default_spec_id,
            terms=terms_of(metadata.spec(), metadata.schema()),
        )

    def key_of(self, file: DataFile) -> PartitionKey:
        """Return a file's partition.

        Raises:
            UnsupportedTableError: If it was written in another spec, so that its rows may belong to
                any partition of this one.

        """
        if file.spec_id != self.spec_id:
            raise UnsupportedTableError(
                self.table,
                f"`{file.file_path}` is of an older partition spec, so its rows may be of any "
                "partition",
                reason=UnsupportedReason.OLDER_SPEC,
                path=file.file_path,
                remedy=Remedy.compact(self.table, advice="rewrite such files in the current spec"),
            )
        return key_of_record(file.partition, self.terms)

    def picks(self, wanted: Collection[PartitionKey]) -> Callable[[DataFile], bool]:
        """Build a test whether a file is in one of `wanted`; it raises what `key_of` raises."""
        records = {tuple(record_of_key(key)[at] for at in range(len(key))) for key in wanted}
        columns = range(len(self.terms))

        def is_picked(file: DataFile) -> bool:
            if file.spec_id != self.spec_id:
                self.key_of(file)
            record = file.partition  # compared as stored: most files of a manifest do not match
            return tuple([record[at] for at in columns]) in records

        return is_picked


def refuse_unknown(metadata: TableMetadata, *, table: str) -> None:
    """Refuse partition specs of other programs whose keys would be misinterpreted.

    Raises:
        UnsupportedTableError: If a partition field is not supported; it names the field.

    """
    for spec in metadata.partition_specs:
        schema = schema_of_spec(metadata, spec)
        for each in spec.fields:
            if each.source_id not in schema.field_ids:
                continue  # in an old spec: nothing is written in it, keys are only compared
            nested = "." in (schema.find_column_name(each.source_id) or "")
            if nested or not _makes_keys(each.transform, schema.find_type(each.source_id)):
                raise UnsupportedTableError(
                    table,
                    f"it is partitioned by `{each}`; {_ALLOWED}",
                    reason=UnsupportedReason.PARTITION_TRANSFORM,
                    column=schema.find_column_name(each.source_id),
                )


def key_of_record(record: Record, terms: Sequence[Term]) -> PartitionKey:
    """Convert a manifest's partition record to a key."""
    # called for every file of every plan
    return tuple(
        [_date_of(record[at]) if term.dates else record[at] for at, term in enumerate(terms)]
    )


@lru_cache(maxsize=65_536)
def _date_of(stored: object) -> object:
    return EPOCH_DAY + dt.timedelta(days=stored) if isinstance(stored, int) else stored


def record_of_key(key: PartitionKey) -> Record:
    """Convert a key to the record that manifests store."""
    return Record(*((v - EPOCH_DAY).days if isinstance(v, dt.date) else v for v in key))


def key_to_text(key: PartitionKey) -> str:
    """Write a key as canonical JSON: dates in ISO form."""
    values = [v.isoformat() if isinstance(v, dt.date) else v for v in key]
    return json.dumps(values, default=str)  # the type of a dropped column may be anything


def key_from_text(text: str, terms: Sequence[Term]) -> PartitionKey:
    """Read what `key_to_text` wrote."""
    return tuple(
        dt.date.fromisoformat(value) if term.dates and isinstance(value, str) else value
        for term, value in zip(terms, json.loads(text), strict=True)
    )


def path_of_key(key: PartitionKey, terms: Sequence[Term]) -> str:
    """Return the folder name of a partition; for humans only, it is never parsed."""
    parts = (
        f"{_as_path(t.field_name)}={_as_path(str(v))}" for t, v in zip(terms, key, strict=True)
    )
    return "/".join(parts)


def _as_path(text: str) -> str:
    # column names in tables of other programs may be anything, even `../..`
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:80]


def split(
    batch: pa.RecordBatch, terms: Sequence[Term]
) -> Iterator[tuple[PartitionKey, pa.RecordBatch]]:
    """Split a batch into its partitions, keeping the order of rows inside each."""
    if not terms or batch.num_rows == 0:
        if batch.num_rows:
            yield (), batch
        return
    columns = [values_of(batch.column(term.column), term) for term in terms]
    keys = pa.table(columns, names=[str(i) for i in range(len(columns))])
    distinct = keys.group_by(keys.column_names, use_threads=False).aggregate([])
    rows = zip(*(distinct.column(name).to_pylist() for name in keys.column_names), strict=True)
    found = list(rows)
    if len(found) == 1:
        yield tuple(found[0]), batch
        return
    for key in found:
        yield tuple(key), batch.filter(_equal(columns, key))


def values_of(column: pa.Array, term: Term) -> pa.Array:
    """Apply a term's transform to a column; days become dates, as in keys."""
    if term.transform == IDENTITY:
        return column
    if term.by_day:
        # casting to a zoneless type keeps the UTC instant, so the day is the UTC day
        return column.cast(pa.timestamp("us")).cast(pa.date32())
    if term.transform == VOID:
        return pa.nulls(len(column), pa.int32())
    source = to_iceberg(pa.schema([pa.field("c", column.type)]), table=term.column)
    return parse_transform(term.transform).pyarrow_transform(source.fields[0].field_type)(column)


def _equal(columns: Iterable[pa.Array], key: PartitionKey) -> pa.Array:
    mask: pa.Array | None = None
    for column, value in zip(columns, key, strict=True):
        is_value = (
            pc.is_null(column)
            if value is None
            else pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), fill_value=False)
        )
        mask = is_value if mask is None else pc.and_(mask, is_value)
    if mask is None:
        msg = "a partition key needs at least one column"
        raise ValueError(msg)
    return mask
