"""Numbers with other signs than a point: `1.234,5` as people write it where that is one thousand and more."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.csv_form import CsvForm
from headrace.ingest.values import WRONG_TYPE, Converted, convert, merged, refuse


def convert_numbers(texts: pa.Array, wanted: pa.DataType, form: CsvForm) -> Converted:
    """Convert texts to a type of numbers by the signs of a contract.

    Thousands are groups of three digits, or are not marked at all: `1,23` with `thousands: ","` is
    refused, as is a point where the decimal sign is a comma.
    """
    texts = texts.cast(pa.string())
    are_numbers = pc.match_substring_regex(texts, _pattern(form))
    shaped = refuse(texts, pc.invert(are_numbers), WRONG_TYPE)
    return merged(shaped, convert(plain_texts(shaped.values, form), wanted))


def fits(texts: pa.Array, form: CsvForm) -> bool:
    """Whether all texts are numbers with these signs."""
    return bool(pc.all(pc.match_substring_regex(texts, _pattern(form))).as_py())


def plain_texts(texts: pa.Array, form: CsvForm) -> pa.Array:
    """Write numbers with a point and no other sign; other texts stay."""
    plain = texts
    if form.thousands:
        plain = pc.replace_substring(plain, form.thousands, "")
    if form.decimal != ".":
        plain = pc.replace_substring(plain, form.decimal, ".")
    return pc.if_else(pc.match_substring_regex(texts, _pattern(form)), plain, texts)


def is_number(kind: pa.DataType) -> bool:
    """Whether the signs of numbers matter to a type."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _pattern(form: CsvForm) -> str:
    decimal, thousands = re.escape(form.decimal), re.escape(form.thousands)
    grouped = f"[1-9][0-9]{{0,2}}(?:{thousands}[0-9]{{3}})+|" if thousands else ""
    return f"^[+-]?(?:{grouped}[0-9]*)(?:{decimal}[0-9]*)?(?:[eE][+-]?[0-9]{{1,4}})?$"
