"""Tells what a file is by its first bytes, its header or its schema, and refuses what a contract excludes."""

import codecs
import json
from collections import Counter
from collections.abc import Iterable
from typing import BinaryIO

import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.errors import SourceFileError
from headrace.ingest.sources.base import RECORD_BYTES_MAX
from headrace.ingest.sources.compressed import MAGIC, compression_of
from headrace.ingest.sources.csv_record import CsvRecordError, split_record
from headrace.ingest.sources.json_documents import begins_document
from headrace.ingest.sources.parquet_paths import named_schema
from headrace.ingest.sources.quoted_records import stays_open
from headrace.ingest.time_forms import holds_field
from headrace.ingest.values import shown

HEAD_BYTES = 64 * 1024  # enough to tell what a file is
BOM = b"\xef\xbb\xbf"
_DELIMITERS = ("\t", ";", "|", "::", ",")
_MAGIC = {
    MAGIC["gzip"]: "gzip data",
    MAGIC["zstd"]: "zstd data",
    MAGIC["zip"]: "a zip archive",
    MAGIC["bz2"]: "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def refuse_other_formats(source: str, head: bytes, *, claimed: str) -> None:
    """Refuse a text file whose first bytes are those of another format.

    Raises:
        SourceFileError: Naming that format.

    """
    other = other_format(head)
    if other is not None:
        detail = f"it {other}, not {claimed.upper()}{_hint(head, claimed)}"
        raise SourceFileError(source, detail)


def other_format(head: bytes) -> str | None:
    """Return what a file is by its first bytes; None for text."""
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return f"is {what}"
    if b"\x00" not in head:
        return None
    return "holds binary data" if wide_encoding(head) is None else "is UTF-16 text"


def wide_encoding(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text by its mark or its zero bytes; None for anything else."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    letters = head[:200]
    for name, zeros, others in (
        ("utf-16-le", letters[1::2], letters[::2]),
        ("utf-16-be", letters[::2], letters[1::2]),
    ):
        if zeros and not any(zeros) and all(others):
            return name
    return None


def _hint(head: bytes, claimed: str) -> str:
    """Say what to declare for a file of another form, where a contract can."""
    compression, encoding = compression_of(head), wide_encoding(head)
    if compression:
        return f"; declare `source: {{compression: {compression}}}`"
    if encoding and claimed == "csv":
        return f"; declare `csv: {{encoding: {encoding}}}` and `complete_files: true`"
    return ""


def looks_like_json(head: bytes) -> bool:
    """Whether one of the first lines starts as a JSON object does."""
    return any(line.lstrip().startswith(b"{") for line in head.split(b"\n"))


def refuse_no_json_lines(head: bytes, source: str) -> None:
    """Refuse a file of JSON that is not one object a line.

    Raises:
        SourceFileError: If so; it says what to declare for whole documents.

    """
    if not head.strip():
        return
    if begins_document(head):
        detail = "its records are not one a line; declare `json: {layout: documents}`"
        raise SourceFileError(source, f"{detail} and `complete_files: true`")
    if not looks_like_json(head):
        raise SourceFileError(source, "no line of its beginning is a JSON object")


def csv_header(
    handle: BinaryIO, stream: Stream, source: str, *, whole: bool
) -> tuple[str, ...] | None:
    """Read the header, as names of fields; None if it is not complete yet.

    A file without one has the columns that the contract lists. Lines that the contract skips are read.

    Raises:
        SourceFileError: If it is not a CSV header, is too long, repeats a name or lacks a required one.

    """
    for _ in range(stream.csv.skip_rows):
        if not _whole_line(handle) and not whole:
            return None
    if not stream.csv.header:
        listed = stream.csv.columns or tuple(
            field.source_name or name for name, field in stream.fields.items()
        )
        header = tuple(map(stream.field_of, listed))
        _refuse_missing(header, stream, source, what="`csv.columns`")
        return header
    line, comment = b"", stream.csv.comment_bytes
    while not line.strip() or (comment and line.startswith(comment)):
        line = handle.readline(RECORD_BYTES_MAX + 1)
        if not line:
            return () if whole else None  # an empty file: no header, and no records either
    if stream.csv.quoted_newlines:
        line = _rest_of_header(handle, line, stream)
    if len(line) > RECORD_BYTES_MAX:
        detail = f"its header is longer than {RECORD_BYTES_MAX} bytes"
        raise SourceFileError(source, detail)
    if not whole and not line.endswith(b"\n"):
        return None
    try:
        text = line.decode(stream.csv.line_encoding).rstrip("\r\n")
        header = tuple(map(stream.field_of, split_record(text, stream.csv)))
    except (UnicodeError, CsvRecordError) as error:
        hint = "; declare its `csv: {encoding: …}`" if isinstance(error, UnicodeError) else ""
        detail = f"its first line is not a CSV header ({error}){hint}"
        raise SourceFileError(source, detail) from error
    _refuse_other_form(line, header, stream, source)
    _refuse_repeated(header, source, what="its header")
    _refuse_missing(header, stream, source, what="its header")
    return header


def _rest_of_header(handle: BinaryIO, line: bytes, stream: Stream) -> bytes:
    """Read the lines that a quote of the header's first line holds; without an end it stays as it is."""
    begun, whole, delimiter = handle.tell(), line, stream.csv.delimiter.encode()
    while stays_open(whole, delimiter, is_open=False):
        more = handle.readline(RECORD_BYTES_MAX + 1)
        if not more or len(whole) > RECORD_BYTES_MAX:
            handle.seek(begun)
            return line
        whole += more
    return whole


def _whole_line(handle: BinaryIO) -> bool:
    """Read one line of any length; whether it has its newline."""
    while line := handle.readline(RECORD_BYTES_MAX):
        if line.endswith(b"\n"):
            return True
    return False


def _refuse_other_form(line: bytes, header: tuple[str, ...], stream: Stream, source: str) -> None:
    """Refuse a header that lacks fields, and has them with another delimiter or encoding: say so."""
    required = {name for name, field in stream.fields.items() if field.required}
    if required <= set(header):
        return
    form = stream.csv
    for encoding in (form.line_encoding, "utf-8", "latin-1"):
        try:
            text = line.decode(encoding).rstrip("\r\n")
        except UnicodeError:
            continue
        for delimiter in (form.delimiter, *_DELIMITERS):
            said = {"delimiter": delimiter, "encoding": encoding}
            before = {"delimiter": form.delimiter, "encoding": form.line_encoding}
            other = {key: value for key, value in said.items() if value != before[key]}
            names = {stream.field_of(name) for name in text.split(delimiter)}
            if other and required <= names:
                declared = ", ".join(f"{key}: {json.dumps(value)}" for key, value in other.items())
                detail = f"its header has the columns of the contract by `csv: {{{declared}}}` only"
                raise SourceFileError(source, detail)


def check_parquet(schema: pa.Schema, stream: Stream, source: str) -> None:
    """Refuse a Parquet file whose columns the contract cannot take.

    Raises:
        SourceFileError: If a column is repeated, a required one is missing, or a type cannot be
            converted to the declared one.

    """
    _refuse_repeated(map(stream.field_of, schema.names), source, what="its schema")
    schema = named_schema(schema, stream)
    names = schema.names
    _refuse_missing(tuple(names), stream, source, what="it")
    for name, field in stream.fields.items():
        found = names.index(name) if name in names else -1
        if found >= 0 and not holds_field(schema.field(found).type, field):
            detail = (
                f"its column `{name}` is `{schema.field(found).type}`, "
                f"which cannot become `{field.type.text}`"
            )
            raise SourceFileError(source, detail)


def _refuse_repeated(names: Iterable[str], source: str, *, what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        detail = f"{what} has {shown(min(repeated))} twice"
        raise SourceFileError(source, detail)


def _refuse_missing(names: tuple[str, ...], stream: Stream, source: str, *, what: str) -> None:
    for name, field in stream.fields.items():
        if field.required and name not in names:
            shown = ", ".join(f"`{other}`" for other in names[:20])
            wanted = field.source_name or name
            detail = f"{what} has no column `{wanted}`, which is required; there are {shown}"
            raise SourceFileError(source, detail)


def reason_of(error: OSError) -> str:
    """Say why a file cannot be read."""
    return f"it cannot be read ({error.strerror or first_line(error)})"


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message."""
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
