"""Assembles feature vectors from the online store, by the same rule training was built with."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headrace.definitions.sample_set import FeatureUse
from headrace.errors import (
    EntityKeyError,
    FeatureSpecError,
    FeatureSpecReason,
    NotAFeatureViewError,
)
from headrace.identifiers import TableName
from headrace.serving.kept import times_of, values_of
from headrace.serving.keys import exact_keys
from headrace.serving.status import Status, statuses_of, window_answer
from headrace.serving.store import EntityKey, Found, OnlineRow, OnlineStore, Value, ViewState
from headrace.serving.stored_names import view_named
from headrace.serving.window_state import definition_of, value_state, windows_of

Wanted: TypeAlias = FeatureUse | TableName | str


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
        """The values by name.

        Raises:
            FeatureSpecError: If several have the same name.

        """
        _refuse_repeated([feature.name for feature in self.features])
        return {feature.name: feature.value for feature in self.features}


@dataclass(frozen=True, kw_only=True)
class ViewRows:
    """The rows of one view for several sets of entities.

    `rows[i]` and `statuses[i]` are those of set i; `state` is that of all of them. Of a window view it
    has the columns that are computed, `stored` is what the store has, and `definition` names its
    declaration.
    """

    use: FeatureUse
    state: ViewState
    stored: ViewState
    rows: Sequence[OnlineRow | None]
    statuses: Sequence[Status]
    definition: str | None = None

    def columns(self) -> dict[str, list[Value]]:
        """Return the values of its columns by their names in training, by set; None where not `fresh`."""
        nothing = (None,) * len(self.state.columns)
        used = [
            values if values is not None and status == "fresh" else nothing
            for values, status in zip(values_of(self.rows), self.statuses, strict=True)
        ]
        if any(len(values) != len(nothing) for values in used):
            msg = f"a row of `{self.state.view}` has other columns than the {len(nothing)} of the view"
            raise ValueError(msg)
        found = list(zip(*used, strict=True)) if used else [()] * len(nothing)
        places = [self.state.columns.index(column) for column in self.use.columns]
        return {
            name: list(found[at]) for name, at in zip(self.use.column_names, places, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """The vectors of several sets of entities at one moment, of one version of each view."""

    at: dt.datetime
    views: tuple[ViewRows, ...]

    def columns(self) -> dict[str, list[Value]]:
        """The values by their name in training, each with one value for each set.

        Raises:
            FeatureSpecError: If several have the same name.

        """
        self.names()
        return {name: values for view in self.views for name, values in view.columns().items()}

    def names(self) -> list[str]:
        """The names of the values in training. Raises as `columns` does."""
        found = [name for view in self.views for name in view.use.column_names]
        _refuse_repeated(found)
        return found

    def vector(self, number: int) -> FeatureVector:
        """Return the vector of one set, with a reason for each value."""
        features = [f for view in self.views for f in _features(view, number, self.at)]
        return FeatureVector(at=self.at, features=tuple(features))


def lookup_vectors(
    store: OnlineStore,
    views: Sequence[Wanted],
    entities: Sequence[Mapping[str, object]],
    *,
    at: dt.datetime | None = None,
    known: MutableMapping[str, ViewState] | None = None,
) -> Vectors:
    """Look up the features of several sets of entities, all views at one moment.

    A window view is computed for the moment: see `WindowView`; a moment so early that its events are
    folded already is `not_yet_known`, and one so long after the last look at its table that the
    publisher must be dead is `expired`.

    Of other views the store holds the newest row only. It is used if it was known before `at` (now by default)
    and its TTL, if any, has not expired: `event_time < at`, `known_at < at` and
    `event_time >= at - ttl`, as in the point-in-time join. An entity that several sets have in
    common is looked up once.

    Args:
        store: Where the views were published.
        views: A view's name for all its columns, or a sample set's use of it for those columns,
            under their names there, with its TTL.
        entities: Values by entity column name, of the column's type: see `exact_keys`. Names that no
            view needs are ignored.
        at: The moment to answer for.
        known: States of views as they were last seen; kept up to date. With it a look-up is one
            exchange with the store, without it two.

    Raises:
        NotAFeatureViewError: If a view was never published or has no such column.
        EntityKeyError: If an entity is not given, or of another type than its column.
        ValueError: If `at` has no zone.

    """
    at = dt.datetime.now(dt.UTC) if at is None else at
    if at.tzinfo is None:
        msg = f"`{at}` has no time zone; times are UTC"
        raise ValueError(msg)
    known = {} if known is None else known
    names = [str(each.view) if isinstance(each, FeatureUse) else str(each) for each in views]
    # `known` may belong to many threads: it is read once, and a newer state is taken from an answer
    seen = {name: known.get(name) for name in names}
    used = {name: state for name, state in seen.items() if state is not None}
    if missing := [name for name in names if name not in used]:
        used |= _note(store.look_up([(name, ()) for name in missing]), missing, known)
    while True:
        try:
            keys = [exact_keys(used[name], entities) for name in names]
        except EntityKeyError:
            now = _note(store.look_up([(name, ()) for name in names]), names, known)
            if _same_shapes(used, now):
                raise
            used = now
            continue
        once = [list(dict.fromkeys(each)) for each in keys]
        found = store.look_up(list(zip(names, once, strict=True)))
        now = _note(found, names, known)
        if _same_shapes(used, now):
            break
        used = now  # the keys may be of other types
    parts = zip(views, keys, once, found, strict=True)
    return Vectors(at=at, views=tuple(_view_rows(*part, at=at) for part in parts))


def lookup_vector(
    store: OnlineStore,
    views: Sequence[Wanted],
    entities: Mapping[str, object],
    *,
    at: dt.datetime | None = None,
) -> FeatureVector:
    """Look up the features of one set of entities: see `lookup_vectors`."""
    return lookup_vectors(store, views, [entities], at=at).vector(0)


def _note(
    found: Sequence[Found], names: Sequence[str], known: MutableMapping[str, ViewState]
) -> dict[str, ViewState]:
    """Return the states of an answer, and keep them in `known`."""
    states: dict[str, ViewState] = {}
    for name, each in zip(names, found, strict=True):
        if each.state is None:
            known.pop(name, None)
            raise NotAFeatureViewError.unpublished(name)
        known[name] = states[name] = each.state
    return states


def _same_shapes(before: Mapping[str, ViewState], now: Mapping[str, ViewState]) -> bool:
    return all(state.same_shape(before[name]) for name, state in now.items())


def _refuse_repeated(names: Sequence[str]) -> None:
    """Refuse names that several values have: one of them would hide the others.

    Raises:
        FeatureSpecError: Naming the first.

    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        msg = f"several values are named `{repeated[0]}`; use the views with a `prefix` each"
        raise FeatureSpecError(msg, reason=FeatureSpecReason.NAMED_TWICE, column=repeated[0])


def _view_rows(
    wanted: Wanted,
    keys: Sequence[EntityKey],
    once: Sequence[EntityKey],
    found: Found,
    *,
    at: dt.datetime,
) -> ViewRows:
    assert found.state is not None  # `_note` refused others
    windows = windows_of(found.state)
    state = found.state if windows is None else value_state(found.state, windows)
    use = wanted if isinstance(wanted, FeatureUse) else _whole(state)
    unknown = [column for column in use.columns if column not in state.columns]
    if unknown:
        detail = f"it has no column `{unknown[0]}`; it has {', '.join(state.columns)}"
        raise NotAFeatureViewError(state.view, detail, column=unknown[0])
    ttl = state.ttl if use.ttl is None else use.ttl
    rows: Sequence[OnlineRow | None] = found.rows
    statuses: Sequence[Status]
    if windows is None:
        statuses = statuses_of(times_of(rows), ttl=ttl, at=at)
    else:
        pairs = zip(once, rows, strict=True)
        answered = [window_answer(windows, state, *pair, ttl=ttl, at=at) for pair in pairs]
        rows, statuses = [row for row, _ in answered], [status for _, status in answered]
    if len(once) != len(keys):
        place_of = {key: place for place, key in enumerate(once)}
        places = [place_of[key] for key in keys]
        made = list(rows)
        rows, statuses = [made[place] for place in places], [statuses[place] for place in places]
    return ViewRows(
        use=use,
        state=state,
        stored=found.state,
        rows=rows,
        statuses=statuses,
        definition=None if windows is None else definition_of(windows),
    )


def _whole(state: ViewState) -> FeatureUse:
    return FeatureUse(view=TableName.parse(view_named(state.view)), columns=state.columns)


def _features(view: ViewRows, number: int, at: dt.datetime) -> list[FeatureValue]:
    row, status = view.rows[number], view.statuses[number]
    named = {} if row is None else dict(zip(view.state.columns, row.values, strict=True))
    return [
        FeatureValue(
            name=name,
            view=view.state.view,
            column=column,
            value=named[column] if status == "fresh" else None,
            status=status,
            event_time=None if row is None else row.event_time,
            known_at=None if row is None else row.known_at,
            staleness_s=None if row is None else (at - row.event_time).total_seconds(),
        )
        for name, column in zip(view.use.column_names, view.use.columns, strict=True)
    ]
