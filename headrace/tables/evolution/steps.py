"""The steps that alter a table; printing a step describes its effect.

A path names a field as Iceberg does: `city`, `address.city`, `items.element.price`,
`labels.value`.
"""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa


@dataclass(frozen=True)
class AddColumn:
    """Add an optional column at the end of its struct; older rows have null."""

    path: str
    type: pa.DataType = field(kw_only=True)

    def __str__(self) -> str:
        return f"add `{self.path}` {self.type}: older rows read null"


@dataclass(frozen=True)
class DropColumn:
    """Drop a column; a later one of the same name is another column."""

    path: str

    def __str__(self) -> str:
        return f"drop `{self.path}`: its values stay in older files and snapshots, hidden"


@dataclass(frozen=True)
class RenameColumn:
    """Rename a column within its struct."""

    path: str
    to: str = field(kw_only=True)

    def __str__(self) -> str:
        return f"rename `{self.path}` to `{self.to}`"


@dataclass(frozen=True)
class MoveColumn:
    """Move a column to the start of its struct, or before or after another one."""

    path: str
    where: Literal["first", "before", "after"] = field(kw_only=True)
    other: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        beside = f" `{self.other}`" if self.other else ""
        return f"move `{self.path}` {self.where}{beside}"


@dataclass(frozen=True)
class WidenColumn:
    """Widen a column's type; does nothing if it is that wide already."""

    path: str
    type: pa.DataType = field(kw_only=True)

    def __str__(self) -> str:
        return f"widen `{self.path}` to {self.type}"


@dataclass(frozen=True)
class MakeOptional:
    """Allow null in a column; does nothing if it is optional already."""

    path: str

    def __str__(self) -> str:
        return f"make `{self.path}` optional"


@dataclass(frozen=True)
class Repartition:
    """Partition new files by these terms, as in `day(event_time)`; () for no partitioning."""

    by: tuple[str, ...]

    def __str__(self) -> str:
        wanted = ", ".join(self.by) or "nothing"
        return f"partition by {wanted}: existing files keep their spec"


SchemaStep = AddColumn | DropColumn | RenameColumn | MoveColumn | WidenColumn | MakeOptional
Step = SchemaStep | Repartition
