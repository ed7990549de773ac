"""Window views: aggregates of an entity's newest events, declared once for training and serving."""

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from headrace.definitions.base import TUPLE, Declaration, Name, Names, Table, refuse_repeats
from headrace.definitions.durations import Duration, format_duration
from headrace.identifiers import TableName, plain_name

Take = Literal["count", "sum", "min", "max", "distinct", "last"]

TILES_MAX = 10_000  # of one entity and window: a look-up merges them
_DELAY_TILES_MAX = 64  # events of so many tiles are joined one by one, as their delay is not over
KEPT = {"distinct": 256, "last": 10}  # aggregates that keep several values, and how many by default


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        msg = "it must be longer than 0s"
        raise ValueError(msg)
    return duration


class Aggregate(Declaration):
    """One aggregate over one or several windows; each becomes the column `<name>_<window>`."""

    noun: ClassVar[str] = "an aggregate"
    misnomers: ClassVar[dict[str, str]] = {
        "function": "take",
        "aggregate": "take",
        "column": "of",
        "field": "of",
        "window": "windows",
        "n": "keep",
        "limit": "keep",
    }

    name: Name
    """The beginning of its columns' names. Example: `clicks`"""
    take: Take
    """What is computed: `count`, `sum`, `min`, `max`, `distinct` (the number of different values) or
    `last` (the newest values). Example: `count`"""
    of: Annotated[Name | None, Field(validate_default=True)] = None
    """The field that is aggregated; events in which it is null do not count. Only `count` does
    without one. Example: `position`"""
    windows: Annotated[
        tuple[Annotated[Duration, AfterValidator(_positive)], ...], TUPLE, Field(min_length=1)
    ]
    """How far back it looks; multiples of the hop. Example: `[1h, 1d]`"""
    keep: Annotated[int | None, Field(ge=1, le=4096, validate_default=True)] = None
    """How many values `last` returns (10), or up to how many different ones `distinct` is exact
    (256). Example: `5`"""

    @field_validator("of")
    @classmethod
    def _has_a_field(cls, of: str | None, info: ValidationInfo) -> str | None:
        if of is None and info.data.get("take", "count") != "count":
            msg = f"`take: {info.data['take']}` needs the field that it is taken of"
            raise ValueError(msg)
        return of

    @field_validator("windows")
    @classmethod
    def _windows_differ(cls, windows: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        refuse_repeats(tuple(format_duration(window) for window in windows))
        return windows

    @field_validator("keep")
    @classmethod
    def _is_kept(cls, keep: int | None, info: ValidationInfo) -> int | None:
        take = info.data.get("take")
        if keep is not None and take not in KEPT:
            msg = f"only `distinct` and `last` keep values, and this is `{take}`"
            raise ValueError(msg)
        return keep if keep is not None or take is None else KEPT.get(take)

    def column_of(self, window: timedelta) -> str:
        """Return the name of the column of one window."""
        return f"{self.name}_{format_duration(window)}"


class WindowView(Declaration):
    """A feature view that is computed from the newest events of each entity, whenever it is asked.

    At `t` an event counts for a window `w` if it happened and was known before `t`, and not before
    the tile of length `hop` in which `t - w` lies. Known is the event's `known_at`, at least its
    event time plus `delay`. The rows of an entity with equal event time and equal `key` of the stream
    are one event.
    """

    noun: ClassVar[str] = "a window view"
    misnomers: ClassVar[dict[str, str]] = {
        "name": "view",
        "table": "view",
        "stream": "events",
        "source": "events",
        "features": "aggregates",
        "tile": "hop",
        "allowed_lateness": "lateness",
        "ttl": "stale_after",
    }

    view: Table
    """The name under which values are asked for; no table of this name is needed. Example:
    `features.item_clicks`"""
    events: Table
    """The table of a declared stream. Example: `raw.clicks`"""
    entity: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    """The columns that say what a value is about. Example: `[item_id]`"""
    hop: Annotated[Duration, AfterValidator(_positive)]
    """The length of a tile: windows begin at multiples of it. Example: `5m`"""
    aggregates: Annotated[tuple[Aggregate, ...], TUPLE, Field(min_length=1)]
    """What is computed. Example: `[{name: clicks, take: count, windows: [1h]}]`"""
    lateness: Annotated[Duration, AfterValidator(_positive)] | None = None
    """An event that becomes known later than this after its event time never counts; by default none
    is so late that it could matter. Example: `1h`"""
    delay: Duration = timedelta(0)
    """How long after its event time an event is usable at the earliest. Example: `1m`"""
    stale_after: Annotated[Duration, AfterValidator(_positive)] | None = None
    """How long after the last look at the table a value is still served; by default the shortest
    window. Example: `1h`"""

    @property
    def name(self) -> str:
        """The view's name."""
        return str(self.view)

    @property
    def table(self) -> TableName:
        """The name under which values are asked for; no table of this name is needed."""
        return self.view

    @property
    def longest(self) -> timedelta:
        """The longest window."""
        return max(window for each in self.aggregates for window in each.windows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its values."""
        return tuple(each.column_of(window) for each in self.aggregates for window in each.windows)

    @field_validator("aggregates")
    @classmethod
    def _fit_the_hop(
        cls, aggregates: tuple[Aggregate, ...], info: ValidationInfo
    ) -> tuple[Aggregate, ...]:
        hop: timedelta | None = info.data.get("hop")
        for window in (window for each in aggregates for window in each.windows):
            if hop is not None and window % hop:
                shown = f"`{format_duration(window)}`"
                msg = f"the window {shown} is no multiple of the hop `{format_duration(hop)}`"
                raise ValueError(msg)
            if hop is not None and window // hop > TILES_MAX:
                shown = f"`{format_duration(window)}` has {window // hop:,} tiles"
                msg = f"the window {shown}, at most {TILES_MAX:,} are possible; take a longer `hop`"
                raise ValueError(msg)
        return aggregates

    @model_validator(mode="after")
    def _consistent(self) -> "WindowView":
        refuse_repeats((*self.entity, *(plain_name(name) for name in self.columns)))
        if self.lateness is not None and self.delay > self.lateness:
            late = format_duration(self.lateness)
            msg = f"with a delay of {format_duration(self.delay)} every event is later than {late}"
            raise ValueError(msg)
        if self.delay > _DELAY_TILES_MAX * self.hop:
            msg = f"the delay is longer than {_DELAY_TILES_MAX} hops; take a longer `hop`"
            raise ValueError(msg)
        return self
