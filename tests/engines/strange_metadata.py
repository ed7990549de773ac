"""Manifests as other programs might leave them: sound ones changed in their header or their bytes."""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

Change = Callable[[bytes], bytes]
_MAGIC, _SYNC_BYTES = b"Obj\x01", 16


def change_schema(change: Callable[[Any], Any]) -> Change:
    """Change the schema that a file says it was written in."""

    def changed(meta: dict[str, bytes]) -> dict[str, bytes]:
        schema = change(json.loads(meta["avro.schema"]))
        return meta | {"avro.schema": json.dumps(schema).encode()}

    return change_header(changed)


def change_header(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Change:
    """Change what stands in a file's header."""

    def changed(content: bytes) -> bytes:
        meta, blocks = _parse(content)
        return _build(change(meta), blocks)

    return changed


def change_blocks(change: Change) -> Change:
    """Change what follows the header: its mark, then blocks of a count, a length and bytes."""

    def changed(content: bytes) -> bytes:
        meta, blocks = _parse(content)
        return _build(meta, change(blocks))

    return changed


def _without_ids(schema: Any) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(schema, dict):
        ids = ("field-id", "element-id", "key-id", "value-id")
        return {key: _without_ids(each) for key, each in schema.items() if key not in ids}
    return [_without_ids(each) for each in schema] if isinstance(schema, list) else schema


def _numbers_for_texts(schema: Any) -> Any:  # noqa: ANN401  (JSON)
    return json.loads(json.dumps(schema).replace('"string"', '"int"'))


def _count_and_size(count: int, size: int) -> Change:
    return change_blocks(
        lambda blocks: blocks[:_SYNC_BYTES] + _long(count) + _long(size) + blocks[_SYNC_BYTES + 3 :]
    )


def _says(codec: str) -> Change:
    return change_header(lambda meta: meta | {"avro.codec": codec.encode()})


# what no reader can decode; of most of these DuckDB 1.5.5 dies, of others it reads no rows
STRANGE: Mapping[str, Change] = {
    "no field ids": change_schema(_without_ids),
    "other types": change_schema(_numbers_for_texts),
    "only the first field": change_schema(lambda schema: schema | {"fields": schema["fields"][:1]}),
    "a schema of a number": change_schema(lambda _: ["null", "int"]),
    "a schema that is no JSON": change_header(lambda meta: meta | {"avro.schema": b"{nonsense"}),
    "no schema": change_header(
        lambda meta: {key: said for key, said in meta.items() if key != "avro.schema"}
    ),
    "an unknown codec": _says("lzma9"),
    "another codec, zstandard": _says("zstandard"),
    "another codec, snappy": _says("snappy"),
    "another codec, bzip2": _says("bzip2"),
    "another codec, none": _says("null"),
    "an endless block": _count_and_size(1, 2**40),
    "a block of negative length": _count_and_size(1, -5),
    "endlessly many entries": _count_and_size(2**40, 100),
    "an endless header": lambda content: content[:4] + _long(3) + _long(2**50) + content[6:],
    "zeros": change_blocks(lambda blocks: blocks[:20] + bytes(len(blocks) - 20)),
    "cut by a byte": lambda content: content[:-1],
    "cut in the mark": lambda content: content[:-20],
    "cut in half": lambda content: content[: len(content) // 2],
    "cut in the header": lambda content: content[:30],
    "nothing but its magic": lambda content: content[:4],
    "empty": lambda _: b"",
}


def without_codec(content: bytes) -> bytes:
    """The same entries, not compressed, in a file that names no codec, which means that."""
    drop = change_header(
        lambda meta: {key: said for key, said in meta.items() if key != "avro.codec"}
    )
    return drop(change_blocks(_inflated)(content))


def _inflated(blocks: bytes) -> bytes:
    at, out = _SYNC_BYTES, blocks[:_SYNC_BYTES]
    while at < len(blocks):
        count, at = _read_long(blocks, at)
        packed, at = _read_bytes(blocks, at)
        out += _long(count) + _bytes(zlib.decompress(packed, -zlib.MAX_WBITS))
        out += blocks[at : at + _SYNC_BYTES]
        at += _SYNC_BYTES
    return out


def _parse(content: bytes) -> tuple[dict[str, bytes], bytes]:
    at, meta = len(_MAGIC), dict[str, bytes]()
    count, at = _read_long(content, at)
    while count:
        for _ in range(count):
            key, at = _read_bytes(content, at)
            said, at = _read_bytes(content, at)
            meta[key.decode()] = said
        count, at = _read_long(content, at)
    return meta, content[at:]


def _build(meta: Mapping[str, bytes], blocks: bytes) -> bytes:
    pairs = b"".join(_bytes(key.encode()) + _bytes(said) for key, said in meta.items())
    return _MAGIC + _long(len(meta)) + pairs + _long(0) + blocks


def _bytes(content: bytes) -> bytes:
    return _long(len(content)) + content


def _long(number: int) -> bytes:
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def _read_long(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at


def _read_bytes(content: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_long(content, at)
    return content[at : at + size], at + size
