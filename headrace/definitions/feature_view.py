"""Feature views: tables of values by entity and time, declared in a table property."""

import json
from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field

from headrace.definitions.base import Declaration, Name, Names, Table, refuse_repeats
from headrace.definitions.durations import Duration
from headrace.identifiers import TableName


class FeatureDeclaration(Declaration):
    """The declaration of a feature view: its entity, the TTL of values, and their delay."""

    noun: ClassVar[str] = "a feature view"

    entity: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    """The columns that say what a value is about. Example: `[item_id]`"""
    event_time: Name = "event_time"
    """The column that says from when on a value holds. Example: `event_time`"""
    known_at: Name = "known_at"
    """The column that says from when on serving could know it. Example: `known_at`"""
    ttl: Duration | None = None
    """How old a value may be when it is used; without it, any age. Example: `7d`"""
    delay: Duration = timedelta(0)
    """How long after its event time a value is usable at the earliest. Example: `5m`"""


class FeatureView(FeatureDeclaration):
    """A feature view with the table it lives in."""

    view: Table

    def to_property(self) -> str:
        """Return the value of the table property `headrace.feature_view`."""
        return json.dumps(
            {
                "entity": list(self.entity),
                "event_time": self.event_time,
                "known_at": self.known_at,
                "ttl_s": None if self.ttl is None else _seconds(self.ttl),
                "delay_s": _seconds(self.delay),
            }
        )

    @classmethod
    def from_property(cls, view: TableName, text: str) -> Self:
        """Parse the result of `to_property`."""
        said = json.loads(text)
        ttl_s = said.get("ttl_s")
        return cls(
            view=view,
            entity=tuple(said["entity"]),
            event_time=said.get("event_time", "event_time"),
            known_at=said.get("known_at", "known_at"),
            ttl=None if ttl_s is None else timedelta(seconds=ttl_s),
            delay=timedelta(seconds=said.get("delay_s", 0)),
        )


def _seconds(duration: timedelta) -> int | float:
    exact = duration.total_seconds()
    return int(exact) if exact.is_integer() else exact
