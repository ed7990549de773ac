"""Assembles one feature vector from the online store, by the same rule training was built with."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.definitions.sample_set import FeatureUse
from headrace.errors import NotAFeatureViewError
from headrace.identifiers import TableName
from headrace.serving.keys import exact_key
from headrace.serving.store import OnlineRow, OnlineStore, Value, ViewState

Status: TypeAlias = Literal["fresh", "expired", "missing", "not_yet_known"]


@dataclass(frozen=True, kw_only=True)
class FeatureValue:
    """One value of a vector, and why it has that value.

    `name` is its name in training. `value` is None unless `status` is `fresh` (and may be None
    then too). The times are those of the stored row, also when it was too old or too new to use;
    `staleness_s` is its age at the moment asked for.
    """

    name: str
    view: str
    column: str
    value: Value
    status: Status
    event_time: dt.datetime | None
    known_at: dt.datetime | None
    staleness_s: float | None


@dataclass(frozen=True, kw_only=True)
class FeatureVector:
    """The values of all asked features at one moment, in the order asked for."""

    at: dt.datetime
    features: tuple[FeatureValue, ...]

    def values(self) -> dict[str, Value]:
        """The values by name."""
        return {feature.name: feature.value for feature in self.features}


def lookup_vector(
    store: OnlineStore,
    views: Sequence[FeatureUse | TableName | str],
    entities: Mapping[str, object],
    *,
    at: dt.datetime | None = None,
) -> FeatureVector:
    """Look up the features of one set of entities.

    The store holds the newest row only. It is used if it was known before `at` (now by default)
    and its TTL, if any, has not expired: `event_time < at`, `known_at < at` and
    `event_time >= at - ttl`, as in the point-in-time join.

    Args:
        store: Where the views were published.
        views: A view's name for all its columns, or a sample set's use of it for those columns,
            under their names there, with its TTL.
        entities: Values by entity column name, of the column's type: see `exact_key`. Names that no
            view needs are ignored.
        at: The moment to answer for.

    Raises:
        NotAFeatureViewError: If a view was never published or has no such column.
        EntityKeyError: If an entity is not given, or of another type than its column.
        ValueError: If `at` has no zone.

    """
    at = dt.datetime.now(dt.UTC) if at is None else at
    if at.tzinfo is None:
        msg = f"`{at}` has no time zone; times are UTC"
        raise ValueError(msg)
    found: list[FeatureValue] = []
    for wanted in views:
        view = str(wanted.view) if isinstance(wanted, FeatureUse) else str(wanted)
        state = store.state(view)
        if state is None:
            raise NotAFeatureViewError(view, "it was never published to this online store")
        (row,) = store.get(view, [exact_key(state, entities)])
        use = wanted if isinstance(wanted, FeatureUse) else _whole(state)
        found += _features(state, use, row, at)
    return FeatureVector(at=at, features=tuple(found))


def _whole(state: ViewState) -> FeatureUse:
    return FeatureUse(view=TableName.parse(state.view), columns=state.columns)


def _features(
    state: ViewState, use: FeatureUse, row: OnlineRow | None, at: dt.datetime
) -> list[FeatureValue]:
    unknown = [column for column in use.columns if column not in state.columns]
    if unknown:
        detail = f"it has no column `{unknown[0]}`; it has {', '.join(state.columns)}"
        raise NotAFeatureViewError(state.view, detail, column=unknown[0])
    status = _status(row, ttl=state.ttl if use.ttl is None else use.ttl, at=at)
    named = {} if row is None else dict(zip(state.columns, row.values, strict=True))
    return [
        FeatureValue(
            name=name,
            view=state.view,
            column=column,
            value=named[column] if status == "fresh" else None,
            status=status,
            event_time=None if row is None else row.event_time,
            known_at=None if row is None else row.known_at,
            staleness_s=None if row is None else (at - row.event_time).total_seconds(),
        )
        for name, column in zip(use.column_names, use.columns, strict=True)
    ]


def _status(row: OnlineRow | None, *, ttl: dt.timedelta | None, at: dt.datetime) -> Status:
    if row is None:
        return "missing"
    if not (row.event_time < at and row.known_at < at):
        return "not_yet_known"
    if ttl is not None and row.event_time < at - ttl:
        return "expired"
    return "fresh"
