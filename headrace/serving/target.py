"""What a publication writes: a view as it is declared now, or as a version of it was published before."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from headrace.definitions.feature_view import FeatureView
from headrace.definitions.load import read_streams, view_of
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.stream import KNOWN_AT, Stream
from headrace.errors import NotAFeatureViewError
from headrace.identifiers import TableName
from headrace.serving.store import ViewState
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a publication of a table writes: the values of a declaration, under a name of the store."""

    name: str
    declared: FeatureView
    columns: tuple[str, ...]

    @classmethod
    def of(cls, lake: OpenLake, view: TableVersion) -> "Target":
        """Return what is served of a view as it is declared now.

        Raises:
            NotAFeatureViewError: If nothing declares it.

        """
        # streams declared here do not describe the tables of another catalog
        streams: tuple[Stream, ...] = ()
        if not lake.foreign:
            read = read_streams(lake.settings)
            read.refuse_broken(view.name, view.properties)
            streams = read.valid
        declared = _declared_view(view, streams=streams)
        columns = _value_columns(view, declared)
        return cls(name=str(view.name), declared=declared, columns=columns)

    def called(self, name: str) -> "Target":
        """Return the same under another name of the store."""
        return replace(self, name=name)

    def same_shape(self, other: "Target") -> bool:
        """Whether rows of both mean the same, if their columns are the same fields of the table."""
        mine = self.declared.model_copy(update={"ttl": other.declared.ttl})
        return self.columns == other.columns and mine == other.declared

    @classmethod
    def as_published(cls, state: ViewState, view: TableVersion) -> "Target | None":
        """Return what was published before, of the table as it is now.

        None if the table no longer has one of its columns as it was: as another field, or type.
        """
        names = state.schema.names
        event_time, known_at = names[len(state.entity) : len(state.entity) + 2]
        if not set(names) <= set(view.schema.names):
            return None
        if not view.pinned_schema.pick(names).equals(state.schema, check_metadata=True):
            return None
        declared = FeatureView(
            view=view.name,
            entity=state.entity,
            event_time=event_time,
            known_at=known_at,
            ttl=state.ttl,
            delay=state.delay,
        )
        return cls(name=state.view, declared=declared, columns=state.columns)


def _declared_view(view: TableVersion, *, streams: Iterable[Stream]) -> FeatureView:
    """Return the view's declaration: from a stream's contract, or else from the table.

    Raises:
        NotAFeatureViewError: If neither declares it.

    """
    declared = view_of(view.name, view.properties, streams=streams)
    if declared is None:
        detail = f"it has no property `{FEATURE_VIEW_PROPERTY}`; declare `meta.headrace` on its dbt model"
        raise NotAFeatureViewError(str(view.name), detail)
    return declared


def newest_known_at(lake: OpenLake, exposures: Sequence[TableName]) -> dt.datetime | None:
    """Read the newest `known_at` of the exposure tables; None if they hold no row.

    A lake of historical data has no present of its own: publishing as of the clock's time would serve
    windows that end after the last exposure. Pass the result to `publish_view` as `as_of`.
    """
    found: list[dt.datetime] = []
    for name in exposures:
        version = lake.table(name).head()
        for batch in version.batches(columns=[KNOWN_AT], partitions=version.partitions[-1:]):
            newest: dt.datetime | None = pc.max(batch.column(KNOWN_AT)).as_py()
            found += [] if newest is None else [newest]
    return max(found, default=None)


def _value_columns(view: TableVersion, declared: FeatureView) -> tuple[str, ...]:
    about = {*declared.entity, declared.event_time, declared.known_at}
    return tuple(
        name for name in view.schema.names if name not in about and not name.startswith("_")
    )
