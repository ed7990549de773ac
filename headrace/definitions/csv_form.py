"""How a CSV file is written, where it is not UTF-8 with commas, a header, and values in quotes."""

import codecs
from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from headrace.definitions.base import TUPLE, Declaration, refuse_repeats

_SEPARATOR = "\x1f"  # stands for a delimiter that is not one ASCII character


class CsvForm(Declaration):
    """The form of CSV files, where they are not UTF-8 with commas, a header, and values in quotes."""

    noun: ClassVar[str] = "`csv`"
    misnomers: ClassVar[dict[str, str]] = {
        "sep": "delimiter",
        "separator": "delimiter",
        "charset": "encoding",
        "null": "null_values",
        "names": "columns",
        "quotes": "quote",
        "skip": "skip_rows",
        "comments": "comment",
    }

    delimiter: Annotated[str, Field(min_length=1, max_length=8)] = ","
    """What stands between values; up to 8 characters. Quotes mean nothing if it has several.
    Example: `"::"`"""
    quote: bool = True
    """Whether values may stand in double quotes. Example: `false`"""
    header: bool = True
    """Whether the first line names the columns. Example: `false`"""
    columns: Annotated[tuple[str, ...], TUPLE] = ()
    """The columns of files without a header, in order; by default as the fields. Example: `[user,
    item, rating]`"""
    encoding: str = "utf-8"
    """One that Python knows, in which a newline is one byte. Example: `latin-1`"""
    null_values: Annotated[tuple[str, ...], TUPLE] = ()
    """Texts that mean null in every column, beside the empty one. Example: `["NULL", "-"]`"""
    skip_rows: Annotated[int, Field(ge=0, le=10_000)] = 0
    """How many lines at the beginning of a file, blank ones too, are no part of it. Example: `3`"""
    comment: Annotated[str, Field(pattern=r"^[^\s\x00-\x1f]{0,8}$")] = ""
    """What a line begins with that is no record. Example: `"#"`"""

    @field_validator("delimiter")
    @classmethod
    def _delimits(cls, text: str) -> str:
        if any(each in text for each in ('"', "\n", "\r", _SEPARATOR)):
            msg = f"{text!r} cannot be a delimiter: it holds a quote or an end of line"
            raise ValueError(msg)
        return text

    @field_validator("columns")
    @classmethod
    def _without_header(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if names and info.data.get("header", True):
            msg = "`columns` names those of a file without a header; declare `header: false`"
            raise ValueError(msg)
        return refuse_repeats(names)

    @field_validator("encoding")
    @classmethod
    def _has_lines(cls, name: str) -> str:
        try:
            newline = "\n".encode(codecs.lookup(name).name)
        except (LookupError, UnicodeError, ValueError) as error:
            msg = f"`{name[:40]}` is no encoding of texts that Python knows"
            raise ValueError(msg) from error
        if newline != b"\n":
            msg = f"a newline is {len(newline)} bytes in `{name}`; convert such files to UTF-8"
            raise ValueError(msg)
        return codecs.lookup(name).name

    @property
    def comment_bytes(self) -> bytes:
        """What a comment begins with in a file; empty if files have none."""
        return self.comment.encode(self.encoding, errors="replace")

    @property
    def quoted(self) -> bool:
        """Whether values may stand in quotes."""
        return self.quote and len(self.delimiter) == 1

    @property
    def separator(self) -> str:
        """One ASCII character that separates values, after `separated` was applied."""
        short = len(self.delimiter) == 1 and self.delimiter.isascii()
        return self.delimiter if short else _SEPARATOR

    def separated(self, text: bytes) -> bytes:
        """Write the separator in place of another delimiter; `text` is UTF-8."""
        if self.separator == self.delimiter:
            return text
        return text.replace(self.delimiter.encode(), _SEPARATOR.encode())
