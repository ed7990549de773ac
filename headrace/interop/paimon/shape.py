"""What a Paimon table is to be, and in what one that is there differs; pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from headrace.definitions.properties import TABLE_UUID
from headrace.errors import PaimonTableDiffersError
from headrace.interop.paimon.facts import PaimonDefinition

# what a person may change of a table without another meaning of its rows
_MAINTENANCE = re.compile(
    rf"{re.escape(TABLE_UUID)}|"  # whose rows it has is asked before, see `lakes`
    r"path|owner|comment|num-levels|target-file-size|"
    r"(snapshot|tag|consumer|changelog\.(num|time)-retained|compaction|num-sorted-run|write|commit|"
    r"full-compaction|lookup|sink|manifest|file\.compression)([-.].+)?"
)


@dataclass(frozen=True, kw_only=True)
class PaimonShape:
    """What a table is to be: its columns, its primary key and its options."""

    name: str
    schema: pa.Schema
    keys: tuple[str, ...]
    options: Mapping[str, str]


def refuse_other_shape(found: PaimonDefinition, wanted: PaimonShape, *, subject: str) -> None:
    """Refuse a table that is there, and is not what was declared for the job of `subject`.

    Raises:
        PaimonTableDiffersError: With each difference.

    """
    differences = tuple(_differences(found, wanted))
    if differences:
        raise PaimonTableDiffersError(wanted.name, subject=subject, differences=differences)


def _differences(found: PaimonDefinition, wanted: PaimonShape) -> Iterator[str]:
    if found.keys != wanted.keys or found.partition_keys:
        by = f", partitioned by {_listed(found.partition_keys)}" if found.partition_keys else ""
        yield f"its primary key is {_listed(found.keys)}{by}; declared is {_listed(wanted.keys)}"
    # in any order: whoever writes or reads names the columns
    there = {field.name: _Kind.of(field) for field in found.schema}
    declared = {field.name: _Kind.of(field) for field in wanted.schema}
    for name in sorted(declared.keys() | there.keys()):
        if there.get(name) != declared.get(name):
            yield f"column `{name}` is {_type(found.types.get(name))}; declared is {_type(declared.get(name))}"
    for name in sorted(wanted.options.keys() | found.options.keys()):
        value, said = found.options.get(name), wanted.options.get(name)
        if value != said and not (said is None and _MAINTENANCE.fullmatch(name)):
            yield f"option `{name}` is {_type(value)}; declared is {_type(said)}"


@dataclass(frozen=True)
class _Kind:
    """What a column may hold: a null that it refuses stops the job that writes it."""

    type: pa.DataType
    nullable: bool

    @classmethod
    def of(cls, field: pa.Field) -> "_Kind":
        return cls(field.type, field.nullable)

    def __str__(self) -> str:
        return f"{self.type}{'' if self.nullable else ' not null'}"


def _type(said: object) -> str:
    return "not there" if said is None else f"`{said}`"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
