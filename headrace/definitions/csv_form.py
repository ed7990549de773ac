"""How a CSV file is written, where it is not UTF-8 with commas, a header, and values in quotes."""

import codecs
from typing import Annotated, ClassVar, Literal

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
        "multiline": "quoted_newlines",
        "decimal_sign": "decimal",
        "thousands_sign": "thousands",
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
    """One that Python knows. Files of one whose newline is not one byte, such as UTF-16, are complete
    when they appear. Example: `latin-1`"""
    null_values: Annotated[tuple[str, ...], TUPLE] = ()
    """Texts that mean null in every column, beside the empty one. Example: `["NULL", "-"]`"""
    skip_rows: Annotated[int, Field(ge=0, le=10_000)] = 0
    """How many lines at the beginning of a file, blank ones too, are no part of it. Example: `3`"""
    comment: Annotated[str, Field(pattern=r"^[^\s\x00-\x1f]{0,8}$")] = ""
    """What a line begins with that is no record. Example: `"#"`"""
    quoted_newlines: bool = False
    """Whether a value in quotes may have several lines. Such files are complete when they appear.
    Example: `true`"""
    decimal: Literal[".", ","] = "."
    """The sign before the digits behind the point. Example: `","`"""
    thousands: Annotated[str, Field(pattern=r"^[^0-9A-Za-z+\-\x00-\x1f]?$")] = ""
    """The sign between groups of three digits, if numbers have one. Example: `"."`"""

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
    def _is_of_texts(cls, name: str) -> str:
        try:
            "\n".encode(codecs.lookup(name).name)
        except (LookupError, UnicodeError, ValueError) as error:
            msg = f"`{name[:40]}` is no encoding of texts that Python knows"
            raise ValueError(msg) from error
        return codecs.lookup(name).name

    @field_validator("quoted_newlines")
    @classmethod
    def _has_quotes(cls, value: bool, info: ValidationInfo) -> bool:
        said = info.data
        if value and not (said.get("quote", True) and len(said.get("delimiter", ",")) == 1):
            msg = "newlines stand in quotes, and these files have none"
            raise ValueError(msg)
        return value

    @field_validator("thousands")
    @classmethod
    def _differs(cls, sign: str, info: ValidationInfo) -> str:
        if sign and sign == info.data.get("decimal"):
            msg = f"`{sign}` is the decimal sign already"
            raise ValueError(msg)
        return sign

    @property
    def is_cut_as_utf8(self) -> bool:
        """Whether texts are turned to UTF-8 before they are cut into lines."""
        wide = "\n".encode(self.encoding) != b"\n"
        return wide or (self.quoted_newlines and self.encoding != "utf-8")

    @property
    def needs_whole_files(self) -> bool:
        """Whether where a record ends is only known of a file that is complete."""
        return self.quoted_newlines or self.is_cut_as_utf8

    @property
    def line_encoding(self) -> str:
        """The encoding that lines have once they are cut."""
        return "utf-8" if self.is_cut_as_utf8 else self.encoding

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers have a point and no other sign."""
        return self.decimal == "." and not self.thousands

    @property
    def comment_bytes(self) -> bytes:
        """What a comment begins with in a file; empty if files have none."""
        return self.comment.encode(self.line_encoding, errors="replace")

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
