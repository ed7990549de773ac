"""Values inside of nested JSON objects: `$.user.id` is the key `id` of the object under `user`."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream_field import path_of

Tree = dict[str, "Tree | pa.DataType"]


class Paths:
    """The declared keys of a contract as a tree, of which paths are the branches."""

    def __init__(self, declared: Mapping[str, pa.DataType]) -> None:
        self._kinds = declared
        self.steps = {key: path_of(key) or (key,) for key in declared}
        self.are_nested = any(len(steps) > 1 for steps in self.steps.values())
        self._tree: Tree = {}
        for key, steps in self.steps.items():
            at = self._tree
            for step in steps[:-1]:
                below = at.setdefault(step, {})
                at = below if isinstance(below, dict) else {}
            at[steps[-1]] = declared[key]

    @property
    def roots(self) -> frozenset[str]:
        """The keys of whole objects that paths go through."""
        return frozenset(steps[0] for steps in self.steps.values() if len(steps) > 1)

    def schema(self) -> pa.Schema:
        """Return the columns to parse, nested as the objects are."""
        return pa.schema(_fields(self._tree))

    def flat(self, table: pa.Table) -> pa.Table:
        """Return one column for each declared key, in their order."""
        if not self.are_nested:
            return table.select(range(len(self.steps)))
        columns = [_inside(table.column(steps[0]), steps[1:]) for steps in self.steps.values()]
        return pa.table(columns, names=list(self.steps))


def _fields(tree: Tree) -> list[pa.Field]:
    return [
        pa.field(name, pa.struct(_fields(below)) if isinstance(below, dict) else below)
        for name, below in tree.items()
    ]


def _inside(column: pa.ChunkedArray, steps: Sequence[str]) -> Any:  # noqa: ANN401  (arrow's array)
    for step in steps:
        column = pc.struct_field(column, step)
    return column
