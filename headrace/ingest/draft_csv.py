"""What a draft says of the form of CSV files: encoding, delimiter, header, newlines in quotes, signs of numbers."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.csv_form import CsvForm
from headrace.ingest.draft_types import NUMBER
from headrace.ingest.number_forms import fits
from headrace.ingest.sampling import Sample, with_quoted_newlines
from headrace.ingest.sources.csv_record import CsvRecordError, split_record

_DELIMITERS = (",", "\t", ";", "|", "::")
LATIN_1 = CsvForm(encoding="latin-1").encoding
_LINES = 2_000  # of which the form is told
_SIGNS = ((",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (",", "\u00a0"), (".", "'"))


def form_of(sample: Sample) -> tuple[CsvForm, tuple[str, ...], Sample]:
    """Tell encoding, delimiter and header; the header is made up where there is none.

    Returns the sample too, as it has to be read if quotes hold newlines.

    Raises:
        DraftError: If a file cannot be read any more.

    """
    encoding = sample.encoding or ("utf-8" if _decodes(sample, "utf-8") else LATIN_1)
    form, width = _split_form(sample, CsvForm(encoding=encoding))
    if any(line.count(b'"') % 2 for line in (*sample.heads, *sample.lines)):
        for delimiter in _DELIMITERS[:4]:
            quoted = with_quoted_newlines(sample, encoding, delimiter)
            declared = CsvForm(delimiter=delimiter, encoding=encoding, quoted_newlines=True)
            lines = (*quoted.heads, *quoted.lines)[:_LINES]
            if any(b"\n" in line for line in lines) and (found := _even_width(lines, declared)) > 1:
                form, width, sample = declared, found, quoted
                break
    first = split_record(sample.heads[0].decode(form.line_encoding), form)
    has_header = (
        len(set(sample.heads)) == 1
        and len(set(first)) == len(first)
        and not any(re.match(NUMBER, value) or not value.strip() for value in first)
    )
    if has_header:
        return form, tuple(first), sample
    form = form.model_copy(update={"header": False})
    return form, tuple(f"column_{number}" for number in range(1, width + 1)), sample


def _split_form(sample: Sample, form: CsvForm) -> tuple[CsvForm, int]:
    best, width = form, 1
    for delimiter in _DELIMITERS:
        declared = form.model_copy(update={"delimiter": delimiter})
        found = _even_width((*sample.heads, *sample.lines[:_LINES]), declared)
        if found > width:
            best, width = declared, found
    return best, width


def _even_width(lines: tuple[bytes, ...], form: CsvForm) -> int:
    """Return how many values each of the lines has; 0 if not all have as many."""
    widths = {_width(line.decode(form.line_encoding), form) for line in lines}
    return widths.pop() if len(widths) == 1 else 0


def _width(line: str, form: CsvForm) -> int:
    try:
        return len(split_record(line, form))
    except CsvRecordError:
        return 0


def _decodes(sample: Sample, encoding: str) -> bool:
    try:
        b"\n".join((*sample.heads, *sample.lines)).decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def with_signs(
    form: CsvForm, columns: Mapping[str, pa.Array], words: tuple[str, ...]
) -> tuple[CsvForm, str | None]:
    """Tell the decimal and thousands signs, if all columns of numbers have the same and no other fits.

    Returns a remark too where more than one reading fits: `1,234` may be little or much.
    """
    left = [(".", ""), *_SIGNS]
    are_told = False
    for column in columns.values():
        values = column.filter(pc.invert(pc.is_in(column, value_set=pa.array(words, pa.string()))))
        values = values.drop_null()
        of_column = [each for each in left if len(values) and fits(values, _signed(form, each))]
        if of_column and not pc.all(pc.match_substring_regex(values, r"^[+-]?[0-9]+$")).as_py():
            left, are_told = of_column, True
    if not are_told or (".", "") in left:
        return form, None
    if len({decimal for decimal, _ in left}) > 1:
        readings = " or ".join(f"decimal {d!r}, thousands {t!r}" for d, t in left)
        return form, f"numbers with signs are left as texts, for they may have {readings}"
    if left[0][0] == form.delimiter:
        told = (
            f"numbers with {form.delimiter!r} are left as texts, for it stands between values too"
        )
        return form, f"{told}: `28,7` may be two"
    return _signed(form, left[0]), None


def _signed(form: CsvForm, signs: tuple[str, str]) -> CsvForm:
    return form.model_copy(update={"decimal": signs[0], "thousands": signs[1]})


def said_of(form: CsvForm, header: tuple[str, ...], words: tuple[str, ...]) -> dict[str, Any]:
    """Return what a contract has to say of this form."""
    said: dict[str, Any] = {}
    if not form.header:
        said["header"], said["columns"] = False, list(header)
    if words:
        said["null_values"] = list(words)
    plain = CsvForm()
    if form.encoding == LATIN_1:
        said["encoding"] = "latin-1"
    for name in ("delimiter", "encoding", "quoted_newlines", "decimal", "thousands"):
        if name not in said and getattr(form, name) != getattr(plain, name):
            said[name] = getattr(form, name)
    return said
