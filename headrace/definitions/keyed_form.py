"""Keyed tables of a stream: one row for each key, which Flink keeps in Paimon."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from headrace.definitions.base import Declaration, Table
from headrace.definitions.stream_field import StreamField
from headrace.definitions.stream_times import field_of_time
from headrace.definitions.types import SIMPLE

PAIMON = "paimon"
SUBJECT = "paimon:"  # and the table: by which name owners and commands know its job
BUCKETS_MAX = 128
# where a row came from, under names that an import of the table leaves free
PLACE = {
    "from_known_at": "known_at",
    "from_source": "_source",
    "from_partition": "_source_partition",
    "from_offset": "_source_offset",
}
FROM = "__from"  # ends the name of a column that says where the value of a partial update came from
_NAME_MAX = 63 - len(FROM)
_NEEDED = {"fields", "key", "event_time", "full_snapshot", "unknown_fields"}
_KEYS = {SIMPLE[name]: name for name in ("string", "int", "long")}


class KeyedForm(Declaration):
    """A Paimon table with one row for each key of a stream: the newest, by event time and then by source."""

    noun: ClassVar[str] = "`keyed`"
    misnomers: ClassVar[dict[str, str]] = {"table": "paimon", "merge_engine": "merge"}

    paimon: Table | None = None
    """Its name in the Paimon warehouse, `database.table`; that of the stream's table by default.
    Example: `shop.users`"""
    merge: Literal["deduplicate", "partial-update"] = "deduplicate"
    """What becomes of rows with one key: the newest counts, or of each field its newest value that is
    not null (`partial-update`). Example: `partial-update`"""
    buckets: Annotated[int, Field(ge=1, le=BUCKETS_MAX)] = 1
    """Into how many buckets its keys are divided; each has one writer. Example: `4`"""


def keyed_of(value: object) -> object:
    """Read a declared `keyed`, where `paimon` alone means all defaults.

    Raises:
        ValueError: If it is another word.

    """
    if value == PAIMON:
        return KeyedForm()
    if not isinstance(value, str):
        return value
    msg = f"`{value}` must be `paimon`, or `{{paimon: database.table}}`"
    raise ValueError(msg)


def keyed_text(value: KeyedForm | None) -> Any:  # noqa: ANN401  (JSON: a text or a mapping)
    """Write `keyed` as it is declared."""
    if value is None or value == KeyedForm():
        return None if value is None else PAIMON
    return value.model_dump(exclude_defaults=True, mode="json")


def check_keyed(keyed: KeyedForm, said: Mapping[str, Any]) -> None:
    """Refuse contracts whose rows do not say which of a key is the newest, or what Paimon cannot hold.

    Args:
        keyed: The form.
        said: What a contract declares, by name; what is wrong itself is missing, and reported already.

    Raises:
        ValueError: If it is one.

    """
    if not _NEEDED <= said.keys():
        return
    fields: dict[str, StreamField] = said["fields"]
    key: str | None = said["key"]
    if key is None:
        msg = "it keeps a row of each key; declare `key`"
    elif fields[key].type.arrow not in _KEYS:
        allowed = ", ".join(f"`{name}`" for name in _KEYS.values())
        msg = f"its key `{key}` is `{fields[key].type.text}`; keys of {allowed} are kept"
    elif said["full_snapshot"]:
        msg = "keys that a whole snapshot removed would stay; it does not go with `full_snapshot`"
    elif field_of_time(said["event_time"], fields) is None:
        msg = "it keeps the newest row of each key; make the field that says when its `event_time`"
    elif said["event_time"] == PLACE["from_known_at"]:
        msg = "an import needs the name `known_at` itself; rename the field of its event time"
    elif said["unknown_fields"] == "evolve":
        msg = "its columns are the declared ones; it does not go with `unknown_fields: evolve`"
    elif (said_of := _said_of_field(keyed, fields)) is not None:
        msg = said_of
    else:
        return
    raise ValueError(msg)


def _said_of_field(keyed: KeyedForm, fields: Mapping[str, StreamField]) -> str | None:
    for name, field in fields.items():
        if name in PLACE:
            return f"it has a column `{name}` of its own, which says where a row came from; rename the field"
        if keyed.merge != "deduplicate" and _is_odd(name):
            return f"`{name}` has no column `{name}{FROM}` beside it, which says where its value came from; rename it"
        if not _is_kept(field):
            return f"`{name}` is `{field.type.text}`, which is not kept in Paimon"
    return None


def _is_odd(name: str) -> bool:
    return name.endswith(FROM) or len(name) > _NAME_MAX


def _is_kept(field: StreamField) -> bool:
    kind = field.type.arrow
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return inner in SIMPLE.values() or pa.types.is_decimal(inner)
