"""When the records of a stream happened, when they were known, and how often they are committed."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from headrace.definitions.base import Declaration, Name
from headrace.definitions.durations import Duration

_DOUBTFUL_BEFORE = datetime(1990, 1, 1, tzinfo=UTC)
INGESTED = "ingested"  # of a time: when a record was taken


def _instant(value: object) -> object:
    """Read a time with an offset; YAML reads some spellings of one itself."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        msg = f"`{value}` is no time with `Z` or an offset, as in `2026-01-01T00:00:00Z`"
        raise ValueError(msg)
    return found.astimezone(UTC)


class FixedTime(Declaration):
    """The event time of every record of a stream whose records have none."""

    noun: ClassVar[str] = "`event_time`"

    constant: Annotated[datetime, BeforeValidator(_instant)]
    """The time of every record. Example: `2026-01-01T00:00:00Z`"""

    def __str__(self) -> str:
        return self.constant.isoformat()


EventTime = Annotated[
    Annotated[str, Tag("field")] | Annotated[FixedTime, Tag("constant")],
    Discriminator(lambda value: "field" if isinstance(value, str) else "constant"),
]


class KnownAt(Declaration):
    """The source of `known_at`: the time of ingestion, a column, or the event time plus a delay."""

    noun: ClassVar[str] = "`known_at`"

    column: Name | None = None
    """The field that says it. Example: `received_at`"""
    after_event: Duration | None = None
    """How long after the event. Example: `5m`"""

    @property
    def ingested(self) -> bool:
        """Whether headrace sets it when it flushes a batch."""
        return self.column is None and self.after_event is None


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        msg = "it must be longer than 0s"
        raise ValueError(msg)
    return duration


class Cadence(Declaration):
    """How often a stream that is followed commits: after a time, rows or MiB, whichever comes first."""

    noun: ClassVar[str] = "`commit`"

    every: Annotated[Duration, AfterValidator(_positive)] = timedelta(seconds=10)
    """After this time. Example: `30s`"""
    rows: Annotated[int, Field(ge=1)] = 1_000_000
    """After so many rows. Example: `500000`"""
    mib: Annotated[int, Field(ge=1, le=4096)] = 256
    """After so many MiB of records. Example: `128`"""


def known_at_of(value: object) -> object:
    """Read a declared `known_at`.

    Raises:
        ValueError: If it is none of the forms.

    """
    if value == INGESTED:
        return KnownAt()
    if isinstance(value, dict) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, KnownAt):
        return value
    msg = f"`{value}` must be `ingested`, `{{column: name}}` or `{{after_event: 0s}}`"
    raise ValueError(msg)


def known_at_text(value: KnownAt) -> Any:  # noqa: ANN401  (JSON: a text or a mapping)
    """Write `known_at` as it is declared."""
    return "ingested" if value.ingested else value.model_dump(exclude_none=True, mode="json")


def field_of_time(event_time: str | FixedTime, fields: Collection[str]) -> str | None:
    """Return the field that holds the event time; None if records have none."""
    if isinstance(event_time, FixedTime) or (event_time == INGESTED and INGESTED not in fields):
        return None
    return event_time


def doubt_of(newest: datetime | None, *, time_field: str | None) -> str | None:
    """Return why the unit of event times is doubtful; None if it is not.

    Seconds that are taken for milliseconds all lie in January 1970. Few logs end before 1990.
    """
    if newest is None or time_field is None or newest >= _DOUBTFUL_BEFORE:
        return None
    return (
        f"no event is newer than {newest:%Y-%m-%d %H:%M}: `{time_field}` may have another `unit` "
        "than its records"
    )
