"""What the point-in-time rule means, written as slowly and plainly as possible."""

import datetime as dt
from collections.abc import Mapping, Sequence

from headrace.samples.point_in_time import FeatureJoin

Row = Mapping[str, object]


def newest_known(exposure: Row, features: Sequence[Row], join: FeatureJoin) -> Row:
    """Return the outputs of `join` for one exposure by looking at every feature row."""
    t = exposure["t"]
    assert isinstance(t, dt.datetime)
    best: tuple[object, ...] | None = None
    chosen: Row | None = None
    for row in features:
        known = known_of(row, join)
        if known is None or not _same_entity(exposure, row, join.entity):
            continue
        happened = row[join.event_time]
        assert isinstance(happened, dt.datetime)
        if not (happened < t and known < t):
            continue
        rank = (happened, known, *(_nulls_first(row[column]) for column in join.order))
        if best is None or rank > best:  # type: ignore[operator]
            best, chosen = rank, row
    if chosen is None or _expired(chosen, t, join):
        return dict.fromkeys(join.outputs, None)
    values = {name: chosen[column] for column, name in join.columns}
    times = {join.event_time_as: chosen[join.event_time], join.known_at_as: known_of(chosen, join)}
    return values | times


def known_of(row: Row, join: FeatureJoin) -> dt.datetime | None:
    """When serving could have used a row; None if it never could."""
    known_at, happened = row[join.known_at], row[join.event_time]
    if not isinstance(known_at, dt.datetime) or not isinstance(happened, dt.datetime):
        return None
    return max(known_at, happened + join.delay)


def _same_entity(exposure: Row, row: Row, entity: Sequence[str]) -> bool:
    return all(exposure[name] is not None and exposure[name] == row[name] for name in entity)


def _expired(row: Row, t: dt.datetime, join: FeatureJoin) -> bool:
    happened = row[join.event_time]
    assert isinstance(happened, dt.datetime)
    return join.ttl is not None and happened < t - join.ttl


def _nulls_first(value: object) -> tuple[bool, object]:
    return (value is not None, 0 if value is None else value)
