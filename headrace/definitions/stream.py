"""Stream contracts: the source of records, their required fields, and the table they go to."""

import difflib
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from headrace.definitions.base import (
    TUPLE,
    Declaration,
    Name,
    Names,
    Table,
    problem_at,
    refuse_repeats,
    unknown_name,
)
from headrace.definitions.csv_form import CsvForm
from headrace.definitions.durations import Duration
from headrace.definitions.feature_view import FeatureDeclaration, FeatureView
from headrace.definitions.json_form import JsonForm
from headrace.definitions.keyed_form import KeyedForm, check_keyed, keyed_of, keyed_text
from headrace.definitions.sources import DeclaredSource, FileSource, KafkaSource, Topic
from headrace.definitions.stream_field import StreamField, path_of
from headrace.definitions.stream_times import (
    INGESTED,
    Cadence,
    EventTime,
    FixedTime,
    KnownAt,
    field_of_time,
    known_at_of,
    known_at_text,
)
from headrace.definitions.types import TIMESTAMP, formats_of
from headrace.identifiers import is_reserved

EVENT_TIME = "event_time"
KNOWN_AT = "known_at"
REMOVED = "_removed"  # whether the row says that whole snapshots no longer have its key
COORDINATES = pa.schema(
    [
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_source_partition", pa.int32(), nullable=False),
        pa.field("_source_offset", pa.int64(), nullable=False),
        pa.field("_source_time", TIMESTAMP),  # null where a producer gave none
    ]
)
# Former names of coordinates: Spark refuses every table with a column `_partition`. The next commit
# that declares a table renames them; remove this when no table has the old names.
FORMER_COORDINATES = {"_partition": "_source_partition", "_offset": "_source_offset"}
FILE_FORMATS, TOPIC_FORMATS = ("csv", "json", "parquet"), ("json", "avro", "protobuf")
_NO_FIELD = " of the source"  # behind a column's name that is the name of another field
_DAY = re.compile(r"day\((\w+)\)")


def renamed_coordinates(names: Collection[str]) -> dict[str, str]:
    """Map the columns of a table that are coordinates with former names to their current names."""
    if not {COORDINATES.names[0], *FORMER_COORDINATES} <= set(names):
        return {}
    return {old: new for old, new in FORMER_COORDINATES.items() if new not in names}


class Stream(Declaration):
    """A stream's contract.

    The table holds the declared fields in order, except that the field named by `event_time`
    is stored as column `event_time`, and the one named by `known_at: {column: …}` as `known_at`;
    then `event_time`, `known_at` and the row coordinates.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    noun: ClassVar[str] = "a stream"
    misnomers: ClassVar[dict[str, str]] = {
        "window": "allowed_lateness",
        "lateness": "allowed_lateness",
        "name": "stream",
        "columns": "fields",
        "schema": "fields",
        "id": "key",
        "files": "source",
        "timestamp": "event_time",
    }

    stream: Name
    """Its name, by which commands know it. Example: `impressions`"""
    table: Table
    """The table that its records go to, `namespace.name`; it is created by the first commit.
    Example: `raw.impressions`"""
    source: DeclaredSource
    """Where records come from: files below the data folder, or a Kafka topic. Example: `{files:
    "impressions/*.jsonl"}`"""
    format: Literal["csv", "json", "parquet", "avro", "protobuf"]
    """How a record is written. Files are `csv`, `json` or `parquet`, topics `json`, `avro` or
    `protobuf`. Example: `json`"""
    csv: Annotated[CsvForm, Field(validate_default=True)] = CsvForm()
    """How CSV files are written that are not plain ones. Example: `{delimiter: ";"}`"""
    json_form: Annotated[JsonForm, Field(alias="json")] = JsonForm()
    """How JSON files are written where a record is not one line. Example: `{layout: documents}`"""
    fields: Annotated[dict[Name, StreamField], Field(min_length=1)]
    """The fields of a record by name; they are columns of the table, in this order. Example:
    `{user_id: {type: long, required: true}}`"""
    key: Name | None = None
    """The field that tells events apart: producer duplicates have the same. Staging keeps one row of
    each. Example: `impression_id`"""
    event_time: EventTime
    """The field that says when a record happened, stored as column `event_time`. `ingested` if
    records have no time: when they were taken; of rows that change, samples see the version that
    was newest then. A `constant` is for rows that never change. Example: `shown_at`"""
    known_at: Annotated[
        KnownAt, BeforeValidator(known_at_of), PlainSerializer(known_at_text, return_type=Any)
    ] = Field(default=KnownAt(), validate_default=True)
    """From when on serving could have known a record: `ingested`, the field that says it (`column`),
    or a time after the event (`after_event`), as for records of the past. Stored as column
    `known_at`. Example: `{after_event: 0s}`"""
    allowed_lateness: Duration = timedelta(0)
    """How late records may come: the watermark, up to which the stream is taken to be complete,
    stays so far behind the newest event. Example: `24h`"""
    allowed_clock_skew: Duration = timedelta(hours=24)
    """How far in the future an event time may lie; a record beyond is a dead letter. Example: `1h`"""
    idle_after: Duration = timedelta(minutes=5)
    """How long a partition of a log holds the watermark back beyond its last record. Example: `5m`"""
    commit: Cadence = Field(default=Cadence(), validate_default=True)
    """How often a stream that is followed commits. Example: `{every: 30s}`"""
    partition_by: Annotated[tuple[str, ...], TUPLE, AfterValidator(refuse_repeats)] = (
        "day(event_time)",
    )
    """How the table is partitioned: columns, and `day(column)` of times or dates. Example:
    `[day(event_time)]`"""
    cluster_by: Annotated[Names, AfterValidator(refuse_repeats)] = ()
    """The columns that compaction sorts by, within a partition. Example: `[user_id, event_time]`"""
    unknown_fields: Literal["ignore", "dead_letter", "evolve", "refuse"] = "ignore"
    """What becomes of undeclared fields: they are ignored, send their record to the dead letters,
    become columns of the table (`evolve`; types of declared fields are widened too), or cause
    their file to be refused. Example: `evolve`"""
    refused_share_limit: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A run fails if at least this share of its records ends in the dead letters, or of the newest
    10,000 records while it follows its source; 1.0 means all of them. Example: `0.05`"""
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """The version of the contract. A higher one accepts a schema of a registry that changed under
    its id. Example: `2`"""
    feature_view: FeatureDeclaration | None = None
    """Makes the table a feature view, without a dbt model. Example: `{entity: [item_id]}`"""
    full_snapshot: bool = False
    """Whether each file is all there is, in the order of their names: a key that a file lacks was
    removed. Its row gets a revision of nulls, whose `_removed` is true. Example: `true`"""
    allow_empty: bool = False
    """Whether a whole snapshot without a record says that every key was removed. Such a file is
    refused otherwise, as an upload that failed leaves one too. Example: `true`"""
    keyed: Annotated[
        KeyedForm | None,
        BeforeValidator(keyed_of),
        PlainSerializer(keyed_text, return_type=Any),
    ] = None
    """Keeps the newest row of each `key` in a Paimon table too: a job of Flink follows the table and
    writes it. Example: `paimon`"""

    @field_validator("format")
    @classmethod
    def _source_has_such_records(cls, format_: str, info: ValidationInfo) -> str:
        source = info.data.get("source")
        if isinstance(source, FileSource) and format_ not in FILE_FORMATS:
            msg = f"`{format_}` is not a format of files; allowed are {_listed(FILE_FORMATS)}"
            raise ValueError(msg)
        if format_ == "parquet" and isinstance(source, FileSource) and source.compression:
            msg = "Parquet files are compressed inside; leave `compression` out of their source"
            raise ValueError(msg)
        if isinstance(source, KafkaSource):
            _check_topic(source.kafka, format_)
        return format_

    @field_validator("csv")
    @classmethod
    def _is_csv(cls, form: CsvForm, info: ValidationInfo) -> CsvForm:
        if form != CsvForm() and info.data.get("format", "csv") != "csv":
            msg = f"`csv` is about files of `format: csv`; this stream has `{info.data['format']}`"
            raise ValueError(msg)
        if form.needs_whole_files:
            what = "`quoted_newlines`" if form.quoted_newlines else f"`encoding: {form.encoding}`"
            _check_complete(info.data.get("source"), what)
        return form

    @field_validator("json_form")
    @classmethod
    def _is_json(cls, form: JsonForm, info: ValidationInfo) -> JsonForm:
        source = info.data.get("source")
        is_json = info.data.get("format", "json") == "json" and not isinstance(source, KafkaSource)
        if form != JsonForm() and not is_json:
            msg = "`json` is about files of `format: json`"
            raise ValueError(msg)
        if form.layout == "documents":
            _check_complete(source, "`layout: documents`")
        return form

    @field_validator("key")
    @classmethod
    def _key_is_required(cls, key: str | None, info: ValidationInfo) -> str | None:
        return key if key is None else _required_field(key, info, what="the key")

    @field_validator("event_time")
    @classmethod
    def _event_time_is_a_time(cls, name: str | FixedTime, info: ValidationInfo) -> str | FixedTime:
        if isinstance(name, FixedTime) or not field_of_time(name, info.data.get("fields", {})):
            return name
        return _time_field(name, info, what="the event time")

    @field_validator("known_at")
    @classmethod
    def _known_at_is_a_time(cls, known_at: KnownAt, info: ValidationInfo) -> KnownAt:
        if known_at.column is not None:
            _time_field(known_at.column, info, what="`known_at`")
        return known_at

    @field_validator("partition_by", "cluster_by")
    @classmethod
    def _columns_exist(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not {"fields", "event_time", "known_at"} <= info.data.keys():
            return names  # reported already
        columns = _columns(info.data["fields"], info.data["event_time"], info.data["known_at"])
        for name in names:
            day = _DAY.fullmatch(name) if info.field_name == "partition_by" else None
            _known(day[1] if day else name, columns, what="a column of the table")
            if day and columns[day[1]].type not in (TIMESTAMP, pa.date32()):
                msg = f"`{name}` needs a column of times or dates"
                raise ValueError(msg)
        return names

    @field_validator("fields")
    @classmethod
    def _no_reserved_names(
        cls, fields: dict[str, StreamField], info: ValidationInfo
    ) -> dict[str, StreamField]:
        for name, field in fields.items():
            if name in COORDINATES.names:
                msg = f"`{name}` is a row coordinate that headrace writes; rename the field"
                raise problem_at(name, msg)
            if is_reserved(name):
                msg = f"`{name}` is reserved by Iceberg for a metadata column; rename the field"
                raise problem_at(name, msg)
            is_flat = info.data.get("format") in ("avro", "protobuf")
            if is_flat and path_of(field.source_name or "") is not None:
                msg = f"`{field.source_name}` is a path, which {info.data['format']} has none of so far"
                raise problem_at(name, msg)
            formats = formats_of(field.type.arrow)
            if info.data.get("format", formats[0]) not in formats:
                msg = (
                    f"`{name}` is `{field.type.text}`, which {info.data['format']} cannot hold here; "
                    f"{_listed(formats)} can"
                )
                raise problem_at(name, msg)
        sources = tuple(field.source_name or name for name, field in fields.items())
        refuse_repeats(sources)
        if info.data.get("format") == "json":
            _refuse_crossing(sources)
        return fields

    @field_validator("unknown_fields")
    @classmethod
    def _paths_ignore_others(cls, policy: str, info: ValidationInfo) -> str:
        nested = (
            name
            for name, field in info.data.get("fields", {}).items()
            if path_of(field.source_name or name) is not None
        )
        name = next(nested, None)
        nests = info.data.get("format") in ("json", "parquet")
        if policy != "ignore" and name is not None and nests:
            msg = (
                f"`{policy}` does not go with `{name}`, which is read from inside of an object: "
                "its other keys are ignored; leave `unknown_fields` out, or declare it `ignore`"
            )
            raise ValueError(msg)
        return policy

    @field_validator("feature_view")
    @classmethod
    def _entity_exists(
        cls, view: FeatureDeclaration | None, info: ValidationInfo
    ) -> FeatureDeclaration | None:
        if view is not None:
            for name in view.entity:
                _required_field(name, info, what="an entity")
        return view

    @field_validator("event_time", "known_at")
    @classmethod
    def _no_second_time_column(
        cls, value: str | FixedTime | KnownAt, info: ValidationInfo
    ) -> str | FixedTime | KnownAt:
        name = str(info.field_name)
        source = value.column if isinstance(value, KnownAt) else value
        if source != name and name in info.data.get("fields", {}):
            msg = (
                f"field `{name}` would collide with the table's column of that name; "
                f"make it the stream's `{name}`, or rename it"
            )
            raise ValueError(msg)
        return value

    @field_validator("full_snapshot")
    @classmethod
    def _can_be_whole(cls, whole: bool, info: ValidationInfo) -> bool:
        if whole:
            _check_whole(info.data)
        return whole

    @field_validator("allow_empty")
    @classmethod
    def _can_be_empty(cls, allowed: bool, info: ValidationInfo) -> bool:
        if allowed and not info.data.get("full_snapshot", True):
            msg = "it is about whole snapshots; declare `full_snapshot: true`, or leave it out"
            raise ValueError(msg)
        return allowed

    @field_validator("keyed")
    @classmethod
    def _can_be_keyed(cls, keyed: KeyedForm | None, info: ValidationInfo) -> KeyedForm | None:
        if keyed is not None:
            check_keyed(keyed, info.data)
        return keyed

    @property
    def keyed_table(self) -> str | None:
        """The name of the Paimon table that keeps its newest rows; None if there is none."""
        return None if self.keyed is None else str(self.keyed.paimon or self.table)

    @property
    def time_field(self) -> str | None:
        """The field that holds the event time; None if records have none."""
        return field_of_time(self.event_time, self.fields)

    @property
    def cuts_whole_files(self) -> bool:
        """Whether records of files are no lines of bytes, so that files are read from their beginning."""
        return self.csv.needs_whole_files or self.json_form.layout == "documents"

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.stream

    def field_of(self, source_name: str) -> str:
        """Return the field that a column of a source is; else its own name, which is that of no field."""
        for name, field in self.fields.items():
            if (field.source_name or name) == source_name:
                return name
        return f"{source_name}{_NO_FIELD}" if source_name in self.fields else source_name

    def source_of(self, name: str) -> str:
        """Return the column of a source of which `field_of` is this."""
        field = self.fields.get(name)
        if field is None:
            return name.removesuffix(_NO_FIELD)
        return field.source_name or name

    def column_of(self, field: str) -> str:
        """Return the table column that stores `field`."""
        if field == self.event_time:
            return EVENT_TIME
        return KNOWN_AT if field == self.known_at.column else field

    def table_schema(self) -> pa.Schema:
        """Return the schema of the stream's table: fields, times, row coordinates."""
        columns = _columns(self.fields, self.event_time, self.known_at)
        if not self.full_snapshot:
            return pa.schema(list(columns.values()))
        emptied = self.fields.keys() - {self.key}  # a row of a removed key has no values
        kept = [
            each.with_nullable(each.name in emptied or each.nullable) for each in columns.values()
        ]
        return pa.schema([*kept, pa.field(REMOVED, pa.bool_())])

    def view(self) -> FeatureView | None:
        """Return the feature view of the table, if the contract declares one."""
        if self.feature_view is None:
            return None
        return FeatureView(view=self.table, **dict(self.feature_view))


def _refuse_crossing(sources: tuple[str, ...]) -> None:
    """Refuse to read an object as a value, and something inside of it by a path."""
    paths = {path_of(source) or (source,): source for source in sources}
    for steps, source in paths.items():
        for length in range(1, len(steps)):
            whole = paths.get(steps[:length])
            if whole is not None:
                msg = f"`{source}` is inside of `{whole}`, which is another field"
                raise ValueError(msg)


def _check_complete(source: DeclaredSource | None, what: str) -> None:
    if isinstance(source, FileSource) and not source.are_complete:
        msg = f"with {what} a record may go on in what is not written yet; declare `complete_files: true`"
        raise ValueError(msg)


def _check_topic(topic: Topic, format_: str) -> None:
    if format_ not in TOPIC_FORMATS:
        msg = f"`{format_}` is not a format of topics; allowed are {_listed(TOPIC_FORMATS)}"
        raise ValueError(msg)
    if format_ != "json" and topic.framing == "none" and topic.schema_file is None:
        msg = f"`{format_}` without `framing: registry` needs the topic's `schema_file`"
        raise ValueError(msg)
    if format_ == "protobuf" and topic.message is None:
        msg = "`protobuf` needs the name of the topic's `message`, as in `shop.Impression`"
        raise ValueError(msg)


def _check_whole(said: dict[str, Any]) -> None:
    """Refuse whole snapshots of which it would be unclear what is gone, and since when."""
    source, view = said.get("source"), said.get("feature_view")
    if isinstance(source, KafkaSource):
        msg = "a topic has no whole snapshots; only files have"
    elif (
        isinstance(source, FileSource)
        and not source.are_complete
        and said.get("format") != "parquet"
    ):
        msg = "a file that grows is no whole snapshot; declare `complete_files: true` in `source`"
    elif "key" in said and said["key"] is None:
        msg = "the `key` of the stream is missing, which tells the rows of two snapshots apart"
    elif (
        said.get("event_time", INGESTED) != INGESTED or not said.get("known_at", KnownAt()).ingested
    ):
        msg = (
            "what is gone has no time of its own; declare `event_time: ingested`, and no `known_at`"
        )
    elif view is not None and view.entity != (said.get("key"),):
        msg = "the `entity` of its feature view must be its `key`, the only value of a row that is gone"
    elif said.get("unknown_fields") == "evolve" or REMOVED in said.get("fields", {}):
        msg = f"it does not go with `unknown_fields: evolve`, nor with a field `{REMOVED}`"
    else:
        return
    raise ValueError(msg)


def _columns(
    fields: dict[str, StreamField], event_time: str | FixedTime, known_at: KnownAt
) -> dict[str, pa.Field]:
    times = {field_of_time(event_time, fields), known_at.column}
    columns = {
        name: pa.field(name, field.type.arrow, nullable=not field.required)
        for name, field in fields.items()
        if name not in times
    }
    for name in (EVENT_TIME, KNOWN_AT):
        columns[name] = pa.field(name, TIMESTAMP, nullable=False)
    for coordinate in COORDINATES:
        columns[coordinate.name] = coordinate
    return columns


def _known(name: str, allowed: Any, *, what: str) -> None:  # noqa: ANN401  (any mapping of names)
    if name not in allowed:
        near = difflib.get_close_matches(name, list(allowed), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"allowed are {_listed(allowed)}"
        msg = f"`{name}` is not {what}; {hint}"
        raise unknown_name(msg, allowed=tuple(allowed))


def _listed(names: Any) -> str:  # noqa: ANN401  (any collection of names)
    return ", ".join(f"`{name}`" for name in names)


def _required_field(name: str, info: ValidationInfo, *, what: str) -> str:
    fields: dict[str, StreamField] | None = info.data.get("fields")
    if fields is None:
        return name  # `fields` itself is wrong, and reported
    _known(name, fields, what="a declared field")
    if not fields[name].required:
        msg = f"`{name}` is {what} of the stream, so the field must be `required: true`"
        raise ValueError(msg)
    return name


def _time_field(name: str, info: ValidationInfo, *, what: str) -> str:
    fields: dict[str, StreamField] = info.data.get("fields", {})
    _required_field(name, info, what=what)
    if name in fields and fields[name].type.arrow != TIMESTAMP:
        msg = f"`{name}` is {what} of the stream, so its type must be `timestamptz`"
        raise ValueError(msg)
    return name
