"""Reading many tables where some cannot be read: one damaged table does not hide the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from headrace.errors import LakeError
from headrace.identifiers import TableName
from headrace.tables.lake import LakeTable, OpenLake

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Readings(Generic[T]):
    """What was read of each table that can be read, and why the others cannot, both in order."""

    found: tuple[T, ...]
    unreadable: Mapping[TableName, LakeError]


def read_each(
    lake: OpenLake, read: Callable[[LakeTable], T], *, names: Sequence[TableName] | None = None
) -> Readings[T]:
    """Read something of every table of a lake, or of `names`; a table's `LakeError` stays its own.

    Raises:
        LakeError: Only if the tables cannot be listed.

    """
    found: list[T] = []
    unreadable: dict[TableName, LakeError] = {}
    for name in lake.names() if names is None else names:
        try:
            found.append(read(lake.table(name)))
        except LakeError as error:
            unreadable[name] = error
    return Readings(found=tuple(found), unreadable=unreadable)
