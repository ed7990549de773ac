"""CSV: one record a line, by the contract's `csv`; an empty value is null.

Plain files are separated by commas and quoted as in RFC 4180. A quoted value cannot hold a newline: one stray quote would swallow the records after it.
"""

import codecs
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from headrace.definitions.stream import Stream
from headrace.ingest.decoding.decoded import (
    INVALID_ENCODING,
    MALFORMED,
    WRONG_COLUMNS,
    Violation,
)
from headrace.ingest.decoding.lines import LineDecoder, Whole
from headrace.ingest.sources.csv_record import CsvRecordError, split_record
from headrace.ingest.sources.line_block import LineBlock

_SEPARATOR = b"\x1f"


class CsvDecoder(LineDecoder):
    """Decodes CSV lines at once, and one by one those that Arrow would read differently."""

    def __init__(self, stream: Stream, header: tuple[str, ...]) -> None:
        super().__init__(stream)
        self._header, self._form = header, stream.csv
        self._nulls = frozenset(("", *stream.csv.null_values))
        self._wanted = [name for name in header if self.strict or name in stream.fields]

    def schema(self) -> pa.Schema:
        """The wanted columns, as text."""
        return pa.schema([(name, pa.string()) for name in self._wanted])

    def odd(self, lines: LineBlock) -> np.ndarray:
        """Find lines with quotes or carriage returns, which need a full CSV reader.

        A byte order mark within a file is part of a value; Arrow drops it where a block begins.
        """
        marks = [b"\r", *([b'"'] if self._form.quoted else [])]
        if self._form.separator != self._form.delimiter:
            marks.append(_SEPARATOR)
        found = [
            lines.holding(np.flatnonzero(lines.codes == mark[0]))
            for mark in marks
            if mark in lines.data
        ]
        if not lines.is_ascii and codecs.BOM_UTF8 in lines.data:
            begin = [at for at, line in enumerate(lines) if line.startswith(codecs.BOM_UTF8)]
            found.append(np.array(begin, dtype=np.int64))
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def texts(self, lines: Sequence[bytes]) -> tuple[Sequence[bytes], dict[int, Violation]]:
        """Turn lines of another encoding to UTF-8; refuse those that are not of it."""
        if self._form.line_encoding == "utf-8":
            return lines, {}
        texts, refused = list[bytes](), dict[int, Violation]()
        for at, line in enumerate(lines):
            try:
                texts.append(line.decode(self._form.line_encoding).encode())
            except UnicodeError as error:
                place = getattr(error, "start", 0)
                reason = f"not {self._form.line_encoding} at byte {place} of the record"
                refused[at] = Violation(INVALID_ENCODING, reason)
                texts.append(b"")
        return texts, refused

    def whole(self, text: bytes, count: int) -> Whole | None:
        """Split lines without quotes at once; lines with too few or too many values become violations."""
        uneven: dict[int, Violation] = {}

        def skip(row: pa_csv.InvalidRow) -> str:
            uneven[row.number - 1] = self._uneven(row.actual_columns)
            return "skip"

        block = self._form.separated(text)
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(block),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=len(block) + 1, column_names=list(self._header)
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._form.separator, quote_char=False, invalid_row_handler=skip
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=self.schema(),
                    include_columns=self._wanted,
                    null_values=sorted(self._nulls),
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowException:
            return None
        if table.num_rows + len(uneven) != count:
            return None
        kept = np.delete(np.arange(count), list(uneven))
        return Whole(table=table, kept=kept, violations=uneven)

    def _uneven(self, found: int | None) -> Violation:
        reason = f"{found} values, but the header has {len(self._header)}"
        return Violation(WRONG_COLUMNS, reason)

    def one(self, line: bytes) -> dict[str, Any] | Violation:
        """Split one line by the quoting rules."""
        try:
            values = split_record(line.decode(), self._form)
        except CsvRecordError as error:
            return Violation(MALFORMED, f"not a CSV record: {error}")
        if len(values) != len(self._header):
            return self._uneven(len(values))
        return {
            name: None if value in self._nulls else value
            for name, value in zip(self._header, values, strict=True)
            if self.strict or name in self.stream.fields
        }
