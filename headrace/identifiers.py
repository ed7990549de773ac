"""Names that are safe in paths and SQL."""

import re
from dataclasses import dataclass

from headrace.errors import InvalidNameError

# the namespace of tables that engines make for a statement and drop: no lake lists them
STAGING_NAMESPACE = "headrace_staging"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# metadata columns of the Iceberg specification ("Reserved Field IDs"), and prefixes it extends
_RESERVED = re.compile(
    r"_(file|pos|deleted|spec_id|partition|row_id|last_updated_sequence_number"
    r"|(change|commit)_.*)",
    re.IGNORECASE | re.DOTALL,
)


def is_plain(name: str) -> bool:
    """Whether `name` is `[a-z_][a-z0-9_]{0,62}`."""
    return _PLAIN.fullmatch(name) is not None


def plain_name(name: str, *, kind: str = "name") -> str:
    """Return `name` unchanged if it is a plain identifier.

    Raises:
        InvalidNameError: If it is not `[a-z_][a-z0-9_]{0,62}`.

    """
    if not is_plain(name):
        raise InvalidNameError(name, kind=kind)
    return name


def is_reserved(name: str) -> bool:
    """Whether `name` is reserved by Iceberg: Spark cannot read a table with such a column."""
    return _RESERVED.fullmatch(name) is not None


def quote(name: str) -> str:
    """Quote a column or relation name for DuckDB and Trino, which share the ANSI rule."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """Quote a string literal for DuckDB and Trino."""
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True, order=True)
class TableName:
    """The full name of a table: one namespace and one name, both plain identifiers."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        plain_name(self.namespace, kind="namespace")
        plain_name(self.name, kind="table name")

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Parse `namespace.name`.

        Raises:
            InvalidNameError: If there are not exactly two plain parts.

        """
        parts = text.split(".")
        if len(parts) != 2:
            raise InvalidNameError(text, kind="table name (`namespace.name`)")
        return cls(parts[0], parts[1])

    @property
    def sql(self) -> str:
        """The quoted name for SQL."""
        return f"{quote(self.namespace)}.{quote(self.name)}"

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"
