"""Protobuf: values are read by their descriptors; presence tells null from zero, numbers are exact."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from headrace.definitions.stream import Stream
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.decoding.decoded import (
    MALFORMED,
    UNKNOWN_FIELD,
    UNKNOWN_SCHEMA,
    Decoded,
    Violation,
)
from headrace.ingest.decoding.frames import PLAIN, unwrap
from headrace.ingest.decoding.typed import Group, assemble
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.schemas import Schemas, SchemaText

_F = FieldDescriptor
_KINDS: dict[int, pa.DataType] = {
    _F.CPPTYPE_INT32: pa.int64(),
    _F.CPPTYPE_INT64: pa.int64(),
    _F.CPPTYPE_UINT32: pa.int64(),
    _F.CPPTYPE_UINT64: pa.uint64(),
    _F.CPPTYPE_DOUBLE: pa.float64(),
    _F.CPPTYPE_FLOAT: pa.float32(),
    _F.CPPTYPE_BOOL: pa.bool_(),
    _F.CPPTYPE_ENUM: pa.string(),
}
_TIME = "google.protobuf.Timestamp"
_WRAPPERS = "google.protobuf."


def decode_protobuf(records: Records, stream: Stream) -> Decoded:
    """Decode values; one that does not parse is a violation."""
    schemas = records.schemas or Schemas(topic=records.partition.source)
    found = unwrap(records, framed=schemas.framed)
    violations = found.refused
    name = schemas.message or ""
    groups: list[Group] = []
    for schema_id, places in found.by_schema.items():
        kind: type[Message] | str | None = (
            schemas.once(lambda content: _compile(content, name))
            if schema_id == PLAIN
            else schemas.compiled(schema_id, lambda text: _compile_text(text, name))
        )
        if kind is None or isinstance(kind, str):
            why = "is not known" if kind is None else f"cannot be used: {kind}"
            reason = f"schema {schema_id} {why}" if schema_id != PLAIN else f"the schema {why}"
            violations |= {at: Violation(UNKNOWN_SCHEMA, reason) for at in places.tolist()}
            continue
        skip = _after_indexes if schema_id != PLAIN else bytes
        bodies = [skip(found.values[at]) for at in places]
        groups.append(_read(kind, places.tolist(), bodies, violations, stream))
    return assemble(groups, violations, stream)


def _read(
    kind: type[Message],
    places: Sequence[int],
    bodies: Sequence[bytes | None],
    violations: dict[int, Violation],
    stream: Stream,
) -> Group:
    strict = stream.unknown_fields != "ignore"
    declared = {field.source_name or name for name, field in stream.fields.items()}
    index: list[int] = []
    messages: list[Message] = []
    for at, body in zip(places, bodies, strict=True):
        message = kind()
        try:
            if body is None:
                violations[at] = Violation(MALFORMED, "the indexes of its message are cut short")
                continue
            message.ParseFromString(body)
        except (DecodeError, RuntimeError) as error:
            violations[at] = Violation(MALFORMED, f"not of its schema: {error}")
            continue
        if strict and len(UnknownFieldSet(message)):
            violations[at] = Violation(UNKNOWN_FIELD, "a field is not in its schema")
            continue
        index.append(at)
        messages.append(message)
    columns: dict[str, tuple[Sequence[Any], pa.DataType | None]] = {}
    for field in kind.DESCRIPTOR.fields:
        read = _value if field.name in declared else _is_set  # zero without presence is not there
        if strict or field.name in declared:
            columns[field.name] = ([read(each, field) for each in messages], _kind_of(field))
    return Group(index=np.array(index, dtype=np.int64), columns=columns)


def _is_set(message: Message, field: Any) -> bool | None:  # noqa: ANN401  (of either implementation)
    return True if any(each.name == field.name for each, _ in message.ListFields()) else None


def _value(message: Message, field: Any) -> Any:  # noqa: ANN401  (of any type; a field of either implementation)
    if field.is_repeated:
        if field.message_type is not None:
            return [] if not len(getattr(message, field.name)) else ["…"]
        return [_scalar(each, field) for each in getattr(message, field.name)]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _scalar(getattr(message, field.name), field)


def _scalar(value: Any, field: Any) -> Any:  # noqa: ANN401  (of any type)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    if field.message_type is None:
        return value
    if field.message_type.full_name == _TIME:
        return value.seconds * 1_000_000 + value.nanos // 1_000
    wrapped = _wrapped(field.message_type)
    return value if wrapped is None else value.value


def _kind_of(field: Any) -> pa.DataType | None:  # noqa: ANN401  (of either implementation)
    kind = _scalar_kind(field)
    if field.is_repeated:
        return None if kind is None or field.message_type is not None else pa.list_(kind)
    return kind


def _scalar_kind(field: Any) -> pa.DataType | None:  # noqa: ANN401  (of either implementation)
    if field.message_type is not None:
        if field.message_type.full_name == _TIME:
            return TIMESTAMP
        wrapped = _wrapped(field.message_type)
        return None if wrapped is None else _scalar_kind(wrapped)
    if field.cpp_type == _F.CPPTYPE_STRING:
        return None if field.type == _F.TYPE_BYTES else pa.string()
    return _KINDS.get(field.cpp_type)


def _wrapped(message: Any) -> Any:  # noqa: ANN401  (of either implementation)
    is_wrapper = message.full_name.startswith(_WRAPPERS) and message.name.endswith("Value")
    return message.fields_by_name.get("value") if is_wrapper else None


def _compile(content: bytes, message: str) -> type[Message] | str:
    """Make the class of a message of a descriptor set, in a pool of its own."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    except DecodeError as error:
        return f"it is no descriptor set: {error}"
    return _class_of(list(files), message)


def _compile_text(schema: SchemaText, message: str) -> type[Message] | str:
    """Make the class of a message of a file descriptor in base64, or of a descriptor set."""
    files: list[descriptor_pb2.FileDescriptorProto] = []
    for text in (*schema.references, schema.text):
        try:
            content = base64.b64decode(text, validate=True)
            files.append(descriptor_pb2.FileDescriptorProto.FromString(content))
        except (binascii.Error, ValueError, DecodeError):
            return _compile(schema.text.encode("latin-1", errors="replace"), message)
    return _class_of(files, message)


def _class_of(files: list[descriptor_pb2.FileDescriptorProto], message: str) -> type[Message] | str:
    pool = descriptor_pool.DescriptorPool()
    try:
        if any("google/protobuf/" in name for file in files for name in file.dependency):
            _add_well_known(pool, {file.name for file in files})
        for file in files:
            pool.Add(file)
        found = pool.FindMessageTypeByName(message)
    except (KeyError, TypeError) as error:
        return f"it has no message `{message}`: {error}"
    return message_factory.GetMessageClass(found)


def _add_well_known(pool: descriptor_pool.DescriptorPool, there: set[str]) -> None:
    from google.protobuf import duration_pb2, timestamp_pb2, wrappers_pb2

    for module in (timestamp_pb2, duration_pb2, wrappers_pb2):
        if module.DESCRIPTOR.name not in there:
            proto = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(proto)
            pool.Add(proto)


def _after_indexes(body: bytes) -> bytes | None:
    """Skip which message of its file a framed value is; None if that is cut short."""
    count, at = _varint(body, 0)
    for _ in range(max(0, count)):
        if at < 0:
            return None
        _, at = _varint(body, at)
    return None if at < 0 else body[at:]


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag number; the next place is -1 if it is cut short or too long."""
    number = shift = 0
    while at < len(body) and shift < 64:
        number |= (body[at] & 0x7F) << shift
        at += 1
        if not body[at - 1] & 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    return 0, -1
