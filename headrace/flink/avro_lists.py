"""Lists of Avro in SQL: SQL has no loop, but a pattern finds one item after the other, each where the last ends.

Only items that a pattern can end are found: numbers, truth values, symbols, bytes of a fixed number, texts and
bytes of few, and unions of these. All items of a list are in one block, as every encoder writes it that is not
asked for more.
"""

from headrace.flink.avro_bytes import text_of
from headrace.identifiers import quote_text
from headrace.ingest.decoding.avro_types import Node

TEXT_BYTES_MAX = 1023  # of a text in a list
_VARINT = r"(?:[\x80-\xff]{0,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01])"
_SIZES = {"boolean": 1, "float": 4, "double": 8}
_TEXTS = frozenset({"string", "bytes"})
# U+FFFF between the texts of a list, in the letters of its bytes; hardly any text has it, and one is refused
_BETWEEN = "\U0010ffff"
_BETWEEN_BYTES = text_of("\uffff".encode())
_BETWEEN_TEXT = "U&'\\ffff'"


def items_of(node: Node, *, behind: str) -> str | None:
    """Write the bytes of the items of a list that begin at a place, and of what follows; None if SQL cannot.

    An item is found only where the last one ended.
    """
    one = _item(node.inner[0])
    if one is None:
        return None
    pattern = quote_text(rf"\G(?:{one})")
    return f"regexp_extract_all(substring(body from {behind}), {pattern}, 0)"


def _item(node: Node) -> str | None:
    if node.kind == "union":
        branches = [_item(each) if each.kind != "null" else "" for each in node.inner]
        if len(branches) > 64 or any(each is None for each in branches):
            return None
        return "|".join(f"{_letter(2 * at)}(?:{each})" for at, each in enumerate(branches))
    if node.kind == "long":
        return _VARINT
    if node.kind == "enum":
        return "|".join(_number(at) for at in range(len(node.names)))
    if node.kind in _TEXTS:
        return "|".join(f"{_number(size)}{_any(size)}" for size in range(TEXT_BYTES_MAX + 1))
    size = node.size if node.kind == "fixed" else _SIZES.get(node.kind, 0)
    return _any(size) or None


def _any(size: int) -> str:
    return rf"[\s\S]{{{size}}}" if size else ""


def _number(value: int) -> str:
    """Write a number that is not negative, in the fewest bytes."""
    found, left = "", 2 * value
    while left > 127:
        found, left = found + _letter(left % 128 + 128), left // 128
    return found + _letter(left)


def _letter(byte: int) -> str:
    return rf"\x{byte:02x}"


def list_end(*, first: str, count: str, items: str) -> str:
    """Write where a list ends whose items begin at `first`; null if it has fewer, or another block."""
    behind = f"{first} + char_length({_joined(items, count, quote_text(''))})"
    ends = f"substring(body from {behind} for 1) = {text_of(bytes(1))}"
    return (
        f"case when {count} = 0 then {first} "
        f"when cardinality({items}) >= {count} and {ends} then {behind} + 1 end"
    )


def texts_bytes(*, count: str, items: str) -> str:
    """Write the bytes of the texts of a list, each behind a text that none has."""
    length = quote_text(r"(?:[\x00-\x7f]|[\x80-\xff][\x00-\x7f])")
    joined = f"concat({_BETWEEN_BYTES}, {_joined(items, count, _BETWEEN_BYTES)})"
    bare = f"regexp_replace({joined}, concat({_BETWEEN_BYTES}, {length}), {_BETWEEN_BYTES})"
    letters = f"case when {count} = 0 then '' else {bare} end"
    return f"cast(encode({letters}, 'ISO-8859-1') as bytes)"


def texts_of(text: str, *, count: str) -> str:
    """Write the list of the texts that `texts_bytes` gave, decoded."""
    return f"array_slice(split({text}, {_BETWEEN_TEXT}), 2, {count} + 1)"


def is_whole(text: str, *, count: str) -> str:
    """Write whether no text has in it what stands between texts."""
    return f"({count} = 0 or cardinality(split({text}, {_BETWEEN_TEXT})) = {count} + 1)"


def _joined(items: str, count: str, between: str) -> str:
    return f"array_join(array_slice({items}, 1, {count}), {between})"
