"""Drafts a contract from files or of a topic: what it says is decoded by the parser that ingestion uses.

A draft ends by decoding the whole sample: what a field's type does not hold makes it a text. Guesses
are comments in the text. No value is looked at by another parser than the one that will read it.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from headrace.definitions.csv_form import CsvForm
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.stream_times import INGESTED
from headrace.errors import DraftError
from headrace.identifiers import is_plain, is_reserved
from headrace.ingest.contract import check
from headrace.ingest.decoding.csv_lines import CsvDecoder
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.draft import Draft
from headrace.ingest.draft_csv import LATIN_1, form_of, said_of, with_signs
from headrace.ingest.draft_types import (
    TIME_NAME,
    DraftField,
    field_of,
    null_words,
    take_as_digits,
    take_as_time,
)
from headrace.ingest.json_columns import json_columns
from headrace.ingest.number_forms import plain_texts
from headrace.ingest.parquet_columns import parquet_columns
from headrace.ingest.sampling import Sample
from headrace.ingest.sources.csv_record import split_record
from headrace.ingest.sources.parquet_paths import named_columns
from headrace.ingest.topic_sampling import remarks, topic_of


def draft_of(sample: Sample, *, stream: str, table: str, files: str) -> Draft:
    """Draft the contract of a sample; every record of the sample is a row under it.

    Raises:
        DraftError: If records cannot be told apart into fields, or values of a topic have no time.

    """
    form, header, remark = CsvForm(), tuple[str, ...](), None
    if sample.format == "csv":
        form, header, sample = form_of(sample)
    columns = _columns(sample, form, header)
    names = _names(list(columns))
    words = null_words(columns) if sample.format == "csv" else ()
    if sample.format == "csv":
        form, remark = with_signs(form, columns, words)
    plain = {
        name: column if form.plain_numbers else plain_texts(column, form)
        for name, column in columns.items()
    }
    is_csv = sample.format == "csv"
    fields = {
        name: field_of(source, plain[source], words, is_csv=is_csv)
        for source, name in names.items()
    }
    draft = Draft(
        stream=stream,
        table=table,
        files=files,
        format=sample.format,
        compression=sample.compression,
        fields=fields,
        topic=None if sample.topic is None else topic_of(sample),
    )
    draft.notes += remarks(sample)
    draft.notes += [] if remark is None else [remark]
    draft.csv = said_of(form, header, words)
    draft.documents = sample.documents
    if form.encoding == LATIN_1:
        draft.notes.append("a guess: its texts are not UTF-8, and any bytes are latin-1")
    draft.event_time = _event_time(draft)
    if draft.event_time != INGESTED:
        draft.fields[draft.event_time].required = True
    elif sample.topic is not None or not draft.fields:  # events have times; a catalogue is files
        detail = "no field of times was found that every record has"
        raise DraftError(sample.about, detail=detail)
    _settle(draft, sample, header)
    draft.key = _key(draft, columns)
    return draft


def _columns(sample: Sample, form: CsvForm, header: tuple[str, ...]) -> dict[str, pa.Array]:
    """Return each column as texts, or as Parquet has it; JSON values that are no texts as JSON."""
    if sample.format == "parquet":
        return parquet_columns(sample.rows)
    if sample.format == "json":
        return json_columns(sample)
    if sample.format == "avro":
        from headrace.ingest.avro_sampling import avro_columns  # its libraries are an extra

        return avro_columns(sample)
    rows = [split_record(line.decode(form.line_encoding), form) for line in _records(sample, form)]
    even = [row for row in rows if len(row) == len(header)]
    return {
        name: pa.array([row[at] or None for row in even], pa.string())
        for at, name in enumerate(header)
    }


def _records(sample: Sample, form: CsvForm) -> Sequence[bytes]:
    return sample.lines if form.header else (*sample.heads, *sample.lines)


def _names(sources: Sequence[str]) -> dict[str, str]:
    """Give each column the name of a field: its own where it may be one."""
    given: dict[str, str] = {}
    taken: set[str] = {*COORDINATES.names}
    for source in sources:
        words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", source.partition(":")[0])
        name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:60] or "column"
        name = name if is_plain(name) and not is_reserved(name) else f"c_{name}"
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique)
        given[source] = unique
    return given


def _event_time(draft: Draft) -> str:
    """Choose the field of times: the first whose name says so, else the first that always has one."""
    times = [name for name, each in draft.fields.items() if each.type == "timestamptz"]
    always = [name for name in times if draft.fields[name].required]
    numbers = [name for name, each in draft.fields.items() if each.unit and each.required]
    digits = [name for name, each in draft.fields.items() if each.time_format and each.required]
    if not always and len(digits) == 1:
        take_as_digits(draft.fields[digits[0]])
        always = digits
    if not always and len(numbers) == 1:
        take_as_time(draft.fields[numbers[0]])
        always = numbers
    if not always:
        has = f"{', '.join(times)} is null in places" if times else "there is no field of times"
        draft.notes.append(
            f"{has}: a row counts from when it is taken; for what never changes, write "
            "event_time: {constant: 2026-01-01T00:00:00Z}, since when it was so"
        )
        draft.fields = {
            f"{INGESTED}_2" if name == INGESTED else name: each
            for name, each in draft.fields.items()
        }
        return INGESTED
    named = [name for name in always if TIME_NAME.search(name)]
    chosen = (named or always)[0]
    if len(always) > 1:
        others = ", ".join(name for name in always if name != chosen)
        draft.notes.append(f"event_time is a guess; it could be {others}")
    return chosen


def _settle(draft: Draft, sample: Sample, header: tuple[str, ...]) -> None:
    """Decode the sample under the draft, and loosen fields until every record is a row.

    Raises:
        DraftError: If records are refused for what is no field's fault.

    """
    for name in [name for name, each in draft.fields.items() if not each.type]:
        left = draft.fields.pop(name)
        draft.notes.append(f"`{left.source}` is {left.notes[-1]}")
    for name in [name for name in draft.fields if name in (EVENT_TIME, KNOWN_AT)]:
        if name != draft.event_time:
            draft.fields[f"{name}_2"] = draft.fields.pop(name)
    for _ in range(len(draft.fields) + 1):
        stream = Stream.model_validate(draft.declared())
        refused = _refused(stream, sample, header)
        if not refused:
            return
        for name, reason in refused.items():
            if name is None or name == draft.event_time:
                raise DraftError(sample.about, detail=reason)
            _loosen(draft.fields[name], reason)
    raise DraftError(sample.about, detail="no contract was found that takes every record")


def _loosen(found: DraftField, reason: str) -> None:
    if "missing" in reason and found.required:
        found.required = False
    else:
        found.type, found.options = "string", {}
        found.notes = [f"not all are of one type: {reason}"]


def _refused(stream: Stream, sample: Sample, header: tuple[str, ...]) -> dict[str | None, str]:
    """Return a reason for each field by which a record of the sample is refused."""
    found: dict[str | None, str] = {}
    for decoded in _decoded(stream, sample, header):
        for violation in check(decoded, stream).violations.values():
            found.setdefault(violation.field, violation.reason)
    return found


def _decoded(stream: Stream, sample: Sample, header: tuple[str, ...]) -> list[Decoded]:
    if sample.format == "parquet":
        return [
            Decoded(
                index=np.arange(batch.num_rows),
                columns=dict(zip(batch.schema.names, batch.columns, strict=True)),
                violations={},
            )
            for batch in (named_columns(each, stream) for each in sample.rows)
        ]
    if sample.format == "avro":
        return [decode(each, stream) for each in sample.records]
    if sample.format == "json":
        return [JsonDecoder(stream).decode((*sample.heads, *sample.lines))]
    names = tuple(map(stream.field_of, header))
    return [CsvDecoder(stream, names).decode(list(_records(sample, stream.csv)))]


def _key(draft: Draft, columns: Mapping[str, pa.Array]) -> str | None:
    """Name a field that tells all records of the sample apart."""
    for name, each in draft.fields.items():
        column = columns[each.source]
        may = each.required and each.type in ("string", "long", "int") and name != draft.event_time
        if may and len(column) > 1 and len(column.unique()) == len(column):
            draft.notes.append(f"key is a guess: `{name}` is unique in the sample")
            return name
    return None
