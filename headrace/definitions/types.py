"""The field types of contracts, and their Arrow types."""

import re
from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": TIMESTAMP,
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_LIST = re.compile(r"list<(.+)>")
_PRECISION_MAX = 38
_LENGTH_MAX = 60
ALLOWED = (*SIMPLE, "decimal(p,s)", "list<type>")


@dataclass(frozen=True)
class FieldType:
    """One declared type: its text in YAML, and its Arrow type."""

    text: str
    arrow: pa.DataType

    @classmethod
    def parse(cls, text: object) -> "FieldType":
        """Parse a type such as `long`, `decimal(18,4)` or `list<long>`.

        Raises:
            ValueError: If there is no such type; the message lists the allowed types.

        """
        if isinstance(text, FieldType):
            return text
        found = _arrow_type(text) if isinstance(text, str) and len(text) <= _LENGTH_MAX else None
        if found is None:
            allowed = ", ".join(f"`{name}`" for name in ALLOWED)
            msg = f"`{str(text)[:_LENGTH_MAX]}` is not a type; allowed are {allowed}"
            raise ValueError(msg)
        return cls(str(text).replace(" ", ""), found)


def _arrow_type(text: str) -> pa.DataType | None:
    if text in SIMPLE:
        return SIMPLE[text]
    if decimal := _DECIMAL.fullmatch(text):
        precision, scale = int(decimal[1]), int(decimal[2])
        fits = 0 < precision <= _PRECISION_MAX and scale <= precision
        return pa.decimal128(precision, scale) if fits else None
    if listed := _LIST.fullmatch(text):
        element = _arrow_type(listed[1])
        if element is not None and not pa.types.is_list(element):
            return pa.list_(pa.field("element", element))
    return None
