"""The changes of a table that a person may ask for; what one prints is what it will do.

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
        return f"drop `{self.path}`: its values stay in older files and snapshots, unseen"


@dataclass(frozen=True)
class RenameColumn:
    """Give a column another name in the struct it is in."""

    path: str
    to: str = field(kw_only=True)

    def __str__(self) -> str:
        return f"rename `{self.path}` to `{self.to}`"


@dataclass(frozen=True)
class MoveColumn:
    """Move a column to the start of its struct, or beside another one of it."""

    path: str
    where: Literal["first", "before", "after"] = field(kw_only=True)
    other: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        beside = f" `{self.other}`" if self.other else ""
        return f"move `{self.path}` {self.where}{beside}"


@dataclass(frozen=True)
class WidenColumn:
    """Widen a column's type; a column that is as wide already stays."""

    path: str
    type: pa.DataType = field(kw_only=True)

    def __str__(self) -> str:
        return f"widen `{self.path}` to {self.type}"


@dataclass(frozen=True)
class MakeOptional:
    """Allow null in a column; an optional one stays."""

    path: str

    def __str__(self) -> str:
        return f"make `{self.path}` optional"


@dataclass(frozen=True)
class Repartition:
    """Partition what is written from now on by these terms, as in `day(event_time)`; () for none."""

    by: tuple[str, ...]

    def __str__(self) -> str:
        wanted = ", ".join(self.by) or "nothing"
        return f"partition by {wanted}: files there are keep the spec they have"


SchemaStep = AddColumn | DropColumn | RenameColumn | MoveColumn | WidenColumn | MakeOptional
Step = SchemaStep | Repartition
