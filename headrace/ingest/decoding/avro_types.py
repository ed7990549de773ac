"""The types of an Avro schema as a tree, by which values are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PLAIN = frozenset({"null", "boolean", "int", "long", "float", "double", "string", "bytes"})
Json = Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """A type, as far as it matters to reading.

    Args:
        kind: The name of the type. An `int` is a `long`, an `array` has one inner type, a `map` is an
            array of records of a key and a value; `named` is a type that this one is part of.
        inner: The types of fields, of branches, or of items.
        names: Of the fields of a record, or the symbols of an enumeration; of `named`, its name.
        size: In bytes, if fixed.

    """

    kind: str
    inner: tuple["Node", ...] = ()
    names: tuple[str, ...] = ()
    size: int = 0


@dataclass(kw_only=True)
class Types:
    """Makes trees of schemas that were parsed, by the definitions of their names.

    Args:
        parsed: Each named type by its full name, as fastavro parsed it.
        made: The trees of named types; None while one is made.
        is_recursive: Whether a type that was made is part of itself.

    """

    parsed: Mapping[str, Json]
    made: dict[str, Node | None] = field(default_factory=dict[str, Node | None])
    is_recursive: bool = False

    def tree(self, schema: Json) -> Node:
        """Return a schema as a tree.

        Raises:
            KeyError: If it has a type that is defined nowhere.

        """
        if isinstance(schema, list):
            return Node(kind="union", inner=tuple(map(self.tree, schema)))  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(schema, str):
            if schema in _PLAIN:
                return Node(kind="long" if schema == "int" else schema)
            return self._named(schema, self.parsed[schema])
        return self._named(schema["name"], schema) if "name" in schema else self._other(schema)

    def _named(self, name: str, schema: Json) -> Node:
        if name not in self.made:
            self.made[name] = None
            self.made[name] = self._other(schema)
        made = self.made[name]
        if made is not None:
            return made
        self.is_recursive = True
        return Node(kind="named", names=(name,))

    def _other(self, schema: Json) -> Node:
        kind = schema["type"]
        if kind in ("record", "error"):
            fields = schema["fields"]
            inner = tuple(self.tree(each["type"]) for each in fields)
            return Node(kind="record", inner=inner, names=tuple(each["name"] for each in fields))
        if kind == "enum":
            return Node(kind="enum", names=tuple(schema["symbols"]))
        if kind == "fixed":
            return Node(kind="fixed", size=int(schema["size"]))
        if kind == "array":
            return Node(kind="array", inner=(self.tree(schema["items"]),))
        if kind == "map":
            pair = (Node(kind="string"), self.tree(schema["values"]))
            return Node(kind="array", inner=(Node(kind="record", inner=pair, names=("k", "v")),))
        return self.tree(kind)
