"""Reads Thrift's compact protocol, the encoding of Parquet footers and page headers."""

from typing import TypeAlias

_DEPTH_MAX = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = (
    0, 1, 2, 3, 7, 8, 9, 10, 11, 12,
)  # fmt: skip
_LONG_LIST = 15  # the length of longer lists follows as a separate number

Value: TypeAlias = "int | bytes | list[Value] | Fields | None"
Fields: TypeAlias = "dict[int, Value]"


class ThriftError(ValueError):
    """The bytes do not follow the protocol."""


class CompactReader:
    """Reads one structure after another from bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def struct(self, depth: int = 0) -> "Fields":
        """Read a structure: its values by field id. Floating values and maps are left out.

        Raises:
            IndexError: If it goes on beyond the content.
            ThriftError: If it is not one.

        """
        if depth > _DEPTH_MAX:
            msg = "nested too deeply"
            raise ThriftError(msg)
        fields: Fields = {}
        key = 0
        while (head := self._byte()) != _STOP:
            key = key + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[key] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> "Value":
        if kind in (_TRUE, _FALSE, _BYTE):  # in lists, a truth value is a byte
            return self._byte()
        if _BYTE < kind < _DOUBLE:
            return self._signed()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._unsigned() if head >> 4 == _LONG_LIST else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _MAP:
            count = self._unsigned()
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._value(kinds >> 4, depth + 1)
                self._value(kinds & 15, depth + 1)
            return None
        if kind == _DOUBLE:
            self._bytes(8)
            return None
        msg = f"there is no kind {kind} of values"
        raise ThriftError(msg)

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self._content):
            raise IndexError
        return self._content[self.at - count : self.at]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                msg = "a number has no end"
                raise ThriftError(msg)

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
