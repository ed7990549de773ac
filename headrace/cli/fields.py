"""What commands say of fields of records that the contract does not declare, and of those it lacks."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.definitions.stream import Stream


def about_fields(undeclared: Collection[str], absent: Sequence[str], stream: "Stream") -> list[str]:
    """Say which fields of records are not declared, and which declared ones no record has."""
    from headrace.ingest.field_use import misspelt, named

    lines: list[str] = []
    if undeclared:
        warning = "warning: " if misspelt(undeclared, stream) else ""
        lines.append(f"{warning}not declared: {named(undeclared, stream)}")
    if absent:
        lines.append("warning: no record has " + ", ".join(f"`{name}`" for name in absent))
    return lines
