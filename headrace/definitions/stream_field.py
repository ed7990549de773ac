"""One field of a stream's records: its type, its name in the source, and the form of its times."""

import datetime as dt
import re
import zoneinfo
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from headrace.definitions.base import Declaration
from headrace.definitions.types import TIMESTAMP, FieldType, is_plain_list

_YEARS = frozenset("YyGcx")  # directives of `strptime` that give a year


class StreamField(Declaration):
    """One field of a record.

    Times are texts with `Z` or an offset, unless `unit`, `timezone` or `time_format` says otherwise.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    noun: ClassVar[str] = "a field"
    misnomers: ClassVar[dict[str, str]] = {
        "nullable": "required",
        "description": "doc",
        "alias": "from",
        "source": "from",
        "tz": "timezone",
        "format": "time_format",
    }

    type: Annotated[
        InstanceOf[FieldType],
        BeforeValidator(FieldType.parse),
        PlainSerializer(lambda value: value.text, return_type=str),
    ]
    """Its type; that of its column is the same. Example: `long`"""
    required: bool = False
    """Whether a record without it is a dead letter. Example: `true`"""
    doc: str = ""
    """What it means; shown by pages and Dagster. Example: `slot on the page, 1 = left`"""
    source_name: Annotated[str | None, Field(alias="from", min_length=1, max_length=1_000)] = None
    """Its name in the source, where that is no name of a column; in JSON and Parquet,
    `$.user.id` is `id` inside of the object or struct `user`. Example: `$.user.id`"""
    unit: Literal["s", "ms", "us", "ns"] | None = None
    """Of times that are numbers, or texts of them: what they count since 1970. Example: `ms`"""
    timezone: str | None = None
    """Of times and dates without an offset: the zone whose clocks show them.
    Example: `Europe/Paris`"""
    time_format: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    """How times are written, in the directives of `strptime`; it needs a `timezone` unless it has
    `%z`. Example: `"%d.%m.%Y %H:%M:%S %z"`"""
    length: Annotated[int | None, Field(ge=1, le=100_000)] = None
    """How many values every list has, as of an embedding; none of them is null then. Example: `64`"""
    rounds: bool = False
    """Whether decimals and whole numbers of Parquet files that a float or double does not hold become
    the nearest one; they are dead letters otherwise. Example: `true`"""

    @field_validator("unit", "timezone", "time_format")
    @classmethod
    def _is_of_a_time(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind: FieldType | None = info.data.get("type")
        if value is not None and kind is not None and kind.arrow != TIMESTAMP:
            msg = f"only a `timestamptz` has one, and this field is `{kind.text}`"
            raise ValueError(msg)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            return None
        if info.data.get("unit") is not None:
            msg = "a number counts from 1970 in UTC; `unit` takes no time zone"
            raise ValueError(msg)
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            msg = f"`{name[:80]}` is no time zone; write one as `UTC` or `Europe/Paris`"
            raise ValueError(msg) from error
        return name

    @field_validator("time_format")
    @classmethod
    def _says_the_zone(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None:
            return None
        if info.data.get("unit") is not None:
            msg = "a field has a `unit` or a `time_format`, not both"
            raise ValueError(msg)
        _refuse_directives(text)
        if ("%z" in text) == (info.data.get("timezone") is not None):
            has = (
                "an offset (`%z`) and a `timezone`"
                if "%z" in text
                else "neither `%z` nor a `timezone`"
            )
            msg = f"`{text}` has {has}; it needs one of them"
            raise ValueError(msg)
        return text

    @field_validator("length", "rounds")
    @classmethod
    def _is_of_its_kind(cls, value: int | bool | None, info: ValidationInfo) -> int | bool | None:
        kind: FieldType | None = info.data.get("type")
        if not value or kind is None:
            return value
        if info.field_name == "length" and not is_plain_list(kind.arrow):
            msg = f"only a list has one, and this field is `{kind.text}`"
            raise ValueError(msg)
        if info.field_name == "rounds" and not pa.types.is_floating(kind.arrow):
            msg = f"only a `float` or `double` rounds, and this field is `{kind.text}`"
            raise ValueError(msg)
        return value

    @property
    def plain_times(self) -> bool:
        """Whether times are texts with an offset, as by default."""
        return self.unit is None and self.timezone is None and self.time_format is None


def path_of(source_name: str) -> tuple[str, ...] | None:
    """Return the keys of a path such as `$.user.id`, from the outside in; None for a plain name."""
    steps = tuple(source_name.removeprefix("$.").split("."))
    return steps if source_name.startswith("$.") and all(steps) else None


def _refuse_directives(text: str) -> None:
    """Refuse a form of times that `strptime` cannot read, or that does not say which time is meant.

    Raises:
        ValueError: If a directive is unknown or repeated, there is no year, or it names zones.

    """
    said = re.findall("%(.)", text)
    if "Z" in said:  # the names that this host has; what they say is ignored
        msg = f"`{text}` reads names of zones, which differ between hosts; use `%z` or `timezone`"
        raise ValueError(msg)
    if not _YEARS.intersection(said):
        msg = f"`{text}` has no year, and all times would be of 1900"
        raise ValueError(msg)
    try:
        dt.datetime.strptime("", text)  # noqa: DTZ007  (nothing is read)
    except (ValueError, re.error) as error:
        if "does not match" not in str(error):
            msg = f"`{text}` is no form that `strptime` reads: {error}"
            raise ValueError(msg) from error
