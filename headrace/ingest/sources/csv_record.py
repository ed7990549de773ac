"""One CSV record: values between delimiters, quoted as RFC 4180 says, or not at all."""

import csv

from headrace.definitions.csv_form import CsvForm

_PLAIN = CsvForm()


class CsvRecordError(ValueError):
    """A line is not a CSV record; the message gives the reason."""


def split_record(text: str, form: CsvForm = _PLAIN) -> list[str]:
    """Split one line, without its newline, into its values.

    Raises:
        CsvRecordError: If a quote is not closed or something follows it, or an unquoted value
            holds a carriage return.

    """
    if not form.quoted:
        return _unquoted(text, form.delimiter)
    if len(text) > csv.field_size_limit():  # the standard library refuses longer values
        return split_long(text, form.delimiter)
    try:
        return next(csv.reader((text,), strict=True, delimiter=form.delimiter))
    except (csv.Error, StopIteration) as error:
        raise CsvRecordError(str(error)) from error


def _unquoted(text: str, delimiter: str) -> list[str]:
    text = text.rstrip("\r")
    if "\r" in text:
        msg = "a carriage return within the line"
        raise CsvRecordError(msg)
    return text.split(delimiter)


def split_long(text: str, delimiter: str = ",") -> list[str]:
    """Split a line of any length, by the same rules.

    Raises:
        CsvRecordError: As `split_record` does.

    """
    text = text.rstrip("\r")
    values: list[str] = []
    at = 0
    while True:
        quoted = text.startswith('"', at)
        value, at = _quoted(text, at, delimiter) if quoted else _plain(text, at, delimiter)
        values.append(value)
        if at == len(text):
            return values
        at += 1


def _quoted(text: str, at: int, delimiter: str) -> tuple[str, int]:
    end = text.find('"', at + 1)
    while end >= 0 and text.startswith('"', end + 1):
        end = text.find('"', end + 2)
    if end < 0:
        msg = "unexpected end of data"
        raise CsvRecordError(msg)
    if end + 1 < len(text) and text[end + 1] != delimiter:
        msg = f"{delimiter!r} expected after '\"'"
        raise CsvRecordError(msg)
    return text[at + 1 : end].replace('""', '"'), end + 1


def _plain(text: str, at: int, delimiter: str) -> tuple[str, int]:
    end = text.find(delimiter, at)
    value = text[at:] if end < 0 else text[at:end]
    if "\r" in value:
        msg = "a carriage return outside of quotes"
        raise CsvRecordError(msg)
    return value, at + len(value)
