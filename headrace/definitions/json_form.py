"""How a JSON file is written, where it is not one object a line."""

from typing import ClassVar, Literal

from headrace.definitions.base import Declaration


class JsonForm(Declaration):
    """The form of JSON files, where a record is not one line."""

    noun: ClassVar[str] = "`json`"
    misnomers: ClassVar[dict[str, str]] = {"lines": "layout", "format": "layout", "array": "layout"}

    layout: Literal["lines", "documents"] = "lines"
    """What a file is: `lines` is one record a line; `documents` is one array of records, or records
    one after the other, over any number of lines each, as programs print them to be read. Files of
    documents are complete when they appear, and one that is cut off is refused whole. Example:
    `documents`"""
