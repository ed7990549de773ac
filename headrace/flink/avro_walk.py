"""Where the parts of an Avro value lie, in SQL: one step for each part, as each begins where the last ends.

A part is a value without parts of its own, or a union of such; the fields of a record inside of a record
are parts like any other. `p_N` is the place of part N behind the number of its branch, `u_N` the branch,
counted from 1, and `d_N` the bytes of the number that a whole number, a symbol or a text begins with. They
are null behind bytes that are not of the schema. A list has `k_N`, how many items it has, and `l_N`, the bytes of
each of them and of more that may follow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.errors import FlinkCannotError
from headrace.flink.avro_bytes import digits_at, short, text_of
from headrace.flink.avro_lists import items_of, list_end
from headrace.flink.statements import plus
from headrace.ingest.decoding.avro_types import Node

_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_NUMBERED = frozenset({"long", "enum", "string", "bytes"})
_BRANCHES_MAX = 64  # whose numbers have one byte


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a value, of the type that its branch says."""

    number: int
    branches: tuple[Node, ...]
    is_union: bool

    @property
    def at(self) -> str:
        """Where it begins."""
        return f"`p_{self.number}`"

    @property
    def digits(self) -> str:
        """The bytes of its number."""
        return f"`d_{self.number}`"

    @property
    def count(self) -> str:
        """How many items it has, if it is a list."""
        return f"`k_{self.number}`"

    @property
    def items(self) -> str:
        """The bytes of its items, if it is a list, and of more behind them."""
        return f"`l_{self.number}`"

    def is_branch(self, kind: str) -> str:
        """Write whether it is of a type."""
        there = [at for at, each in enumerate(self.branches, 1) if each.kind == kind]
        if not self.is_union:
            return "true" if there else "false"
        return f"`u_{self.number}` = {there[0]}" if there else "false"

    def node(self) -> Node:
        """Return its type where it is no null; of several, the first."""
        return next((each for each in self.branches if each.kind != "null"), self.branches[0])


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The queries that find the parts of values; the last one has the columns of all of them.

    `is_sound` says whether a value is of the schema but for its texts; `parts` are those of the fields of the
    record, None for a field that is a record itself.
    """

    steps: Mapping[str, str]
    is_sound: str
    parts: Mapping[str, Part | None]


def walk(record: Node, *, first: int, base: str, stream: str) -> Walk:
    """Write the queries of values of a record's type that begin at a letter of `body` in query `base`.

    Raises:
        FlinkCannotError: If the type has maps, lists of items that have parts, or parts that only some values
            have; SQL cannot go on where these end.

    """
    steps: dict[str, str] = {}
    bad: list[str] = []
    parts: dict[str, Part | None] = {}
    end = str(first)
    for name, node in zip(record.names, record.inner, strict=True):
        found = [
            Part(number=len(steps) + at, branches=branches, is_union=is_union)
            for at, (branches, is_union) in enumerate(_parts(node, name, stream=stream))
        ]
        for part in found:
            step = f"part_{part.number}"
            steps[step] = plus(base, _columns(part, end))
            base, end = step, _end(part)
            lists = _lists(part)
            if lists:
                base = f"list_{part.number}"
                steps[base] = plus(step, lists)
            bad += _unknown_symbols(part)
        parts[name] = found[0] if node.kind != "record" else None
    ends_well = f"coalesce({end} = char_length(body) + 1, false)"
    sound = " and ".join([ends_well, *(f"not ({each})" for each in bad)])
    return Walk(steps=steps, is_sound=sound, parts=parts)


def _parts(node: Node, name: str, *, stream: str) -> Iterator[tuple[tuple[Node, ...], bool]]:
    if node.kind == "record":
        for inner_name, inner in zip(node.names, node.inner, strict=True):
            yield from _parts(inner, f"{name}.{inner_name}", stream=stream)
        return
    branches = node.inner if node.kind == "union" else (node,)
    for each in branches:
        is_list = each.kind == "array" and items_of(each, behind="1") is not None
        if not is_list and each.kind not in (*_SIZES, *_NUMBERED, "fixed"):
            what = f"its schema has `{name}`, and SQL cannot find the end of its `{each.kind}`"
            raise FlinkCannotError(stream, what)
    if len(branches) > _BRANCHES_MAX:
        raise FlinkCannotError(stream, f"its schema has `{name}`, of {len(branches)} types")
    yield branches, node.kind == "union"


def _columns(part: Part, end: str) -> dict[str, str]:
    """Write the columns of a part behind the end of the last one."""
    at = f"{end} + 1" if part.is_union else end
    columns = {f"p_{part.number}": f"cast({at} as int)"}
    if part.is_union:
        numbers = text_of(bytes(2 * at for at in range(len(part.branches))))
        letter = f"nullif(substring(body from {end} for 1), '')"
        columns[f"u_{part.number}"] = f"nullif(instr({numbers}, {letter}), 0)"
    if any(each.kind in (*_NUMBERED, "array") for each in part.branches):
        columns[f"d_{part.number}"] = digits_at(at)
    return columns


def _lists(part: Part) -> dict[str, str]:
    """Write the columns of a list, where it is one."""
    found = next((each for each in part.branches if each.kind == "array"), None)
    if found is None:
        return {}
    items, there = items_of(found, behind=_behind(part)), part.is_branch("array")
    return {
        f"k_{part.number}": f"case when {there} then {short(part.digits)} end",
        f"l_{part.number}": f"case when {there} then {items} end",
    }


def _behind(part: Part) -> str:
    return f"{part.at} + char_length({part.digits})"


def _end(part: Part) -> str:
    ends = [_end_of(each, part) for each in part.branches]
    if not part.is_union:
        return ends[0]
    whens = " ".join(f"when {at} then {each}" for at, each in enumerate(ends, 1))
    return f"case `u_{part.number}` {whens} end"


def _end_of(node: Node, part: Part) -> str:
    if node.kind in _NUMBERED:
        return _behind(part) + (
            f" + {short(part.digits)}" if node.kind in ("string", "bytes") else ""
        )
    if node.kind == "array":
        return list_end(first=_behind(part), count=part.count, items=part.items)
    return f"{part.at} + {node.size if node.kind == 'fixed' else _SIZES[node.kind]}"


def _unknown_symbols(part: Part) -> list[str]:
    """Write whether a symbol is none of its enumeration."""
    return [
        f"coalesce({part.is_branch('enum')}, false) "
        f"and not coalesce({short(part.digits)} < {len(each.names)}, false)"
        for each in part.branches
        if each.kind == "enum"
    ]
