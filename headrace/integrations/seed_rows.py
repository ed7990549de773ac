"""Reads the CSV file of a dbt seed into rows, by the parser and the types of stream contracts.

The type of a column is the one that its YAML declares, else the one that all of its values have: a seed is
small and is looked at whole. An empty value is null.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.errors import DefinitionError, ModelRowsError
from headrace.ingest.contract import check
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.draft_types import field_of
from headrace.integrations.model_request import ColumnRule

_SHOWN_MAX = 3


def read_file(path: Path, *, seed: str) -> bytes:
    """Read the file of a seed.

    Raises:
        ModelRowsError: If it cannot be read.

    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRowsError(seed, f"its file `{path.name}` cannot be read: {error}") from error


def rows_of(
    content: bytes, *, seed: str, delimiter: str, rules: Mapping[str, ColumnRule]
) -> pa.Table:
    """Return the rows of a seed's file, in its order and with its columns.

    Args:
        content: Of the file, which is UTF-8 text with a header.
        seed: What to call it in errors.
        delimiter: What stands between values.
        rules: What is declared of columns.

    Raises:
        DefinitionError: If the header, or what is declared of a column, cannot be a table's.
        ModelRowsError: If a line has another number of values, or a value is none of its type.

    """
    header, lines = _lines(content, seed=seed, delimiter=delimiter)
    unknown = [name for name in rules if name not in header]
    if unknown:
        what = f"`{unknown[0]}` is declared, but the file has only {', '.join(header)}"
        raise DefinitionError((f"seed `{seed}`: {what}",))
    texts = {
        name: pa.array([line[at] or None for line in lines], pa.string())
        for at, name in enumerate(header)
    }
    stream = _contract(seed, {name: _declared(name, texts[name], rules) for name in header})
    index = np.arange(len(lines))
    checked = check(Decoded(index=index, columns=texts, violations={}), stream)
    if checked.violations:
        found = sorted(checked.violations.items())[:_SHOWN_MAX]
        shown = "; ".join(f"row {at + 1}: {each.reason}" for at, each in found)
        raise ModelRowsError(seed, f"{len(checked.violations)} of its rows are refused: {shown}")
    fields = [
        pa.field(name, stream.fields[name].type.arrow, nullable=not stream.fields[name].required)
        for name in header
    ]
    columns = [checked.rows.column(stream.column_of(name)).combine_chunks() for name in header]
    return pa.table(columns, schema=pa.schema(fields))


def _lines(content: bytes, *, seed: str, delimiter: str) -> tuple[list[str], list[list[str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelRowsError(seed, f"its file is not UTF-8: {error}") from error
    read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [line for line in read if line]
    except csv.Error as error:
        raise ModelRowsError(seed, f"line {read.line_num} of its file: {error}") from error
    if not lines:
        raise ModelRowsError(seed, "its file is empty; the first line names the columns")
    header, rows = lines[0], lines[1:]
    if len(set(header)) < len(header):
        raise DefinitionError((f"seed `{seed}`: two columns of its file have one name",))
    for number, line in enumerate(rows, start=1):
        if len(line) != len(header):
            detail = f"row {number} has {len(line)} values, and the header {len(header)}"
            raise ModelRowsError(seed, detail)
    return header, rows


def _declared(name: str, texts: pa.Array, rules: Mapping[str, ColumnRule]) -> dict[str, Any]:
    rule = rules.get(name)
    if rule is not None and rule.declared is not None:
        said: dict[str, Any] = {"type": rule.declared.text}
    else:
        drafted = field_of(name, texts, (), is_csv=True)
        said = {"type": drafted.type, **drafted.options}
    is_time = name in (EVENT_TIME, KNOWN_AT)
    return said | {"required": is_time or (rule is not None and rule.required)}


def _contract(seed: str, fields: Mapping[str, Mapping[str, Any]]) -> Stream:
    """Say it as the contract of a stream, which has the rules of names, types and times."""
    said: dict[str, Any] = {
        "stream": "seed",
        "table": "raw.seed",
        "source": {"files": "seed.csv", "complete_files": True},
        "format": "csv",
        "event_time": EVENT_TIME if EVENT_TIME in fields else "ingested",
        "fields": fields,
    }
    if KNOWN_AT in fields:
        said["known_at"] = {"column": KNOWN_AT}
    try:
        return Stream.model_validate(said)
    except ValidationError as error:
        raise DefinitionError(tuple(_problems(seed, error.errors()))) from error


def _problems(seed: str, errors: Sequence[Any]) -> list[str]:
    places = [".".join(str(part) for part in each["loc"] if part != "[key]") for each in errors]
    texts = zip(places, (each["msg"] for each in errors), strict=True)
    return [f"seed `{seed}`: {place}: {text}" for place, text in texts]
