"""The base of all declarations: frozen, no unknown keys, validated names, a hash of the meaning."""

import hashlib
import json
from typing import Annotated, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    InstanceOf,
    PlainSerializer,
)
from pydantic_core import PydanticCustomError

from headrace.identifiers import TableName, plain_name


class Declaration(BaseModel):
    """A part of a declaration; `noun` is its name in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    noun: ClassVar[str] = "a declaration"
    misnomers: ClassVar[dict[str, str]] = {}

    def definition_hash(self) -> str:
        """Return a hash of the meaning: equal for equal declarations, on every machine."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def _table_name(value: object) -> object:
    return TableName.parse(value) if isinstance(value, str) else value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


Name = Annotated[str, AfterValidator(plain_name)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]
Table = Annotated[
    InstanceOf[TableName], BeforeValidator(_table_name), PlainSerializer(str, return_type=str)
]
TUPLE = BeforeValidator(_as_tuple)


def refuse_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` unchanged if they are distinct.

    Raises:
        ValueError: If a name is repeated; it names it.

    """
    for index, name in enumerate(names):
        if name in names[:index]:
            msg = f"`{name}` is listed twice"
            raise ValueError(msg)
    return names


def problem_at(key: str, message: str) -> PydanticCustomError:
    """Build an error for one key of a mapping, so that it is reported with the line of the key."""
    return PydanticCustomError("problem_at", "{message}", {"message": message, "key": key})


def unknown_name(message: str, *, allowed: tuple[str, ...]) -> PydanticCustomError:
    """Build an error for a name that is none of those that may stand there."""
    return PydanticCustomError(
        "unknown_name", "{message}", {"message": message, "allowed": allowed}
    )
