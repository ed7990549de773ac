"""Resolves a sample set against its tables into the full recipe of its rows."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from headrace.clock import ONE_US
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.load import read_streams, view_of
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.sample_set import ABOUT_ROW, LOG_COLUMNS, FeatureUse, Label, SampleSet
from headrace.definitions.stream import Stream, renamed_coordinates
from headrace.definitions.windows import Windows
from headrace.errors import DefinitionError
from headrace.identifiers import TableName
from headrace.samples.first_arrivals import Repeats, repeats_of
from headrace.samples.key_types import key_type_problems
from headrace.samples.served_log import ServedLog, log_problems, served_log_of
from headrace.samples.watermarks import source_tables
from headrace.samples.window_use import (
    ResolvedWindows,
    events_read,
    resolved_use,
    window_use_problems,
    windows_used,
)
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

# the arrival order of a stream's rows; `(source, partition, offset)` is unique
_ARRIVAL = ("_source", "_source_partition", "_source_offset")
SAMPLE_ID, EVENT_TIME = "sample_id", "event_time"
LABEL_STATE, MATURE_AT, KEEP_RATE = "label_state", "mature_at", "keep_rate"
_CODE_VERSION = 1  # raised when the same recipe would give other rows
_NAN_VERSION = 2  # recipes with a label that may be NaN; since this version NaN is not positive
_NO_COLUMN = frozenset({"exists", "count"})  # values of a label that no column holds


@dataclass(frozen=True, kw_only=True)
class ResolvedFeature:
    """Columns of one feature view; `columns` pairs each with its name in a sample."""

    view: str
    name: str
    entity: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    event_time: str
    known_at: str
    ttl_us: int | None
    delay_us: int
    order: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ResolvedLabel:
    """One label; `order` breaks ties between label events after `(event_time, known_at)`."""

    name: str
    table: str
    key: str
    value: str
    window_us: int
    lateness_us: int
    order: tuple[str, ...]

    @property
    def has_column(self) -> bool:
        """Whether the value is a column of the label event."""
        return self.value not in _NO_COLUMN


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that, with the pinned inputs and watermarks, decides the rows of a sample set."""

    name: str
    table: str
    exposures: str
    id: str
    at: str
    entities: tuple[str, ...]
    columns: tuple[str, ...]
    features: tuple[ResolvedFeature, ...]
    labels: tuple[ResolvedLabel, ...]
    windows: tuple[ResolvedWindows, ...] = ()
    repeats: tuple[Repeats, ...] = ()
    served: ServedLog | None = None
    keep_rate: str = "1"
    keep_salt: str = ""
    code_version: int = _CODE_VERSION

    @property
    def nan_is_positive(self) -> bool:
        """Whether a NaN label counts as positive, as in recipes of older code versions."""
        return self.code_version < _NAN_VERSION

    @property
    def code(self) -> str:
        """A name for this recipe; equal recipes have equal names on every machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tables that it reads, without repetition."""
        names = (self.exposures, *(f.view for f in self.features), *(x.table for x in self.labels))
        names += () if self.served is None else (self.served.table,)
        return tuple(dict.fromkeys((*names, *(each.windows.events for each in self.windows))))

    @property
    def reads(self) -> dict[str, frozenset[str]]:
        """The columns that it reads from every table."""
        found = {name: set[str]() for name in self.inputs}
        found[self.exposures].update((self.id, self.at, *self.entities, *self.columns))
        for each in self.features:
            columns = (column for column, _ in each.columns)
            found[each.view].update(
                (*each.entity, each.event_time, each.known_at, *each.order, *columns)
            )
        for each in self.labels:
            value = (each.value,) if each.has_column else ()
            found[each.table].update((each.key, EVENT_TIME, "known_at", *each.order, *value))
        for each in self.windows:
            found[each.windows.events].update(each.reads)
        for each in self.repeats:
            found[each.table].update(each.reads)
        if self.served is not None:
            found[self.served.table].update(self.served.reads)
        return {name: frozenset(columns) for name, columns in found.items()}

    def to_json(self) -> str:
        """Write the recipe as canonical JSON; what it does not have is left out, as it once was."""
        said = asdict(self)
        for name in ("windows", "repeats", "served"):
            if not said[name]:
                del said[name]
        for each in said.get("repeats", ()):
            if not each["told"]:
                del each["told"]
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what `to_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        windows = tuple(ResolvedWindows.of(each) for each in said.pop("windows", ()))
        said["features"] = tuple(
            ResolvedFeature(**_tuples(feature)) for feature in said["features"]
        )
        said["labels"] = tuple(ResolvedLabel(**_tuples(label)) for label in said["labels"])
        repeats = tuple(Repeats(**_tuples(each)) for each in said.pop("repeats", ()))
        served = said.pop("served", None)
        log = None if served is None else ServedLog(**_tuples(served))
        return cls(**_tuples(said), windows=windows, repeats=repeats, served=log)


def _tuples(said: dict[str, Any]) -> dict[str, Any]:
    def as_tuple(value: Any) -> Any:  # noqa: ANN401 - JSON
        return tuple(as_tuple(part) for part in value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]

    return {name: as_tuple(value) for name, value in said.items()}


def pin_heads(lake: OpenLake, sample_set: SampleSet) -> dict[str, TableVersion]:
    """Pin the newest snapshot of every table that a sample set names; reads each table once.

    Each has the columns of its last commit, so that the snapshot alone says what was read. Columns
    that were dropped or renamed since that commit are still there under their old names.

    Raises:
        TableNotFoundError: If one of them does not exist.

    """
    heads: dict[str, TableVersion] = {}
    wanted: dict[str, set[str]] = {}
    windows = windows_used(lake, sample_set)
    for table, columns in _named(sample_set, windows):
        name = str(table)
        if name not in heads:
            heads[name] = lake.table(table).head()
        wanted.setdefault(name, set()).update(columns)
    streams = _streams_of(lake, heads.values())
    for repeats in repeats_of(sample_set, streams, arrival=_arrivals(heads)):
        wanted[repeats.table].update(repeats.reads)
    for use in sample_set.features:
        if use.view in windows:
            continue
        view = view_of(use.view, heads[str(use.view)].properties, streams=streams)
        if view is not None:
            wanted[str(use.view)].update((*view.entity, view.event_time, view.known_at))
    return {name: _as_committed(head, wanted[name]) for name, head in heads.items()}


def _as_committed(head: TableVersion, columns: Collection[str]) -> TableVersion:
    """Return a version in the schema of its last commit, or in another one that has the columns.

    If only an older schema has a column, because it was dropped before the last commit, `head` is
    returned unchanged: the declaration is then refused. New rows would read as null.
    """
    found, then = head.in_schema_with(columns), head.in_schema_at_commit()
    alive = {key for each in (then, head) for key in each.column_ids(each.schema.names).values()}
    return found if alive.issuperset(found.column_ids(columns).values()) else head


def _named(
    sample_set: SampleSet, windows: Mapping[TableName, Windows]
) -> Iterator[tuple[TableName, tuple[str, ...]]]:
    """Yield every table that a declaration names, with its columns."""
    exposures = sample_set.exposures
    columns = (exposures.id, exposures.at, *exposures.entities, *exposures.columns)
    yield exposures.table, columns
    for use in sample_set.features:
        if use.view in windows:
            yield TableName.parse(windows[use.view].events), events_read(windows[use.view])
        else:
            yield use.view, use.columns
    for label in sample_set.labels:
        value = () if label.value in _NO_COLUMN else (label.value,)
        yield label.stream, (sample_set.label_key(label), EVENT_TIME, "known_at", *value)
    if sample_set.logged is not None:
        yield sample_set.logged.log, (sample_set.log_key, *LOG_COLUMNS)


def resolve(
    lake: OpenLake, sample_set: SampleSet, *, versions: Mapping[str, TableVersion] | None = None
) -> Recipe:
    """Fill in what the declaration leaves to the tables: TTLs, delays, lateness, orders.

    `versions` are its tables as `pin_heads` pins them, which is the default. Build from the same
    versions that were resolved.

    Raises:
        DefinitionError: Listing everything in the declaration that contradicts the tables.
        TableNotFoundError: If a table does not exist.

    """
    versions = pin_heads(lake, sample_set) if versions is None else versions
    streams = _streams_of(lake, versions.values())
    windows = windows_used(lake, sample_set)
    stored = [use for use in sample_set.features if use.view not in windows]
    views = {
        str(use.view): view_of(use.view, versions[str(use.view)].properties, streams=streams)
        for use in stored
    }
    problems = tuple(_problems(sample_set, versions, views))
    problems += tuple(window_use_problems(sample_set, windows, versions))
    problems += tuple(log_problems(sample_set, versions))
    if problems:
        raise DefinitionError(problems)
    negatives = sample_set.keep_negatives
    return Recipe(
        name=sample_set.name,
        table=str(sample_set.table),
        exposures=str(sample_set.exposures.table),
        id=sample_set.exposures.id,
        at=sample_set.exposures.at,
        entities=sample_set.exposures.entities,
        columns=sample_set.exposures.columns,
        features=tuple(
            _feature(use, versions[str(use.view)], view)
            for use in stored
            if (view := views[str(use.view)]) is not None
        ),
        windows=tuple(
            resolved_use(use, used, arrival_order(versions[used.events].schema.names))
            for use in sample_set.features
            if (used := windows.get(use.view)) is not None
        ),
        labels=tuple(
            _label(lake, label, sample_set.label_key(label), versions[str(label.stream)])
            for label in sample_set.labels
        ),
        repeats=tuple(repeats_of(sample_set, streams, arrival=_arrivals(versions))),
        served=served_log_of(sample_set, arrival=_arrivals(versions)),
        keep_rate=str(negatives.rate.normalize()) if negatives else "1",
        keep_salt=negatives.salt if negatives else "",
        code_version=_code_version(sample_set, versions),
    )


def _streams_of(lake: OpenLake, tables: Iterable[TableVersion]) -> tuple[Stream, ...]:
    """Return the declared streams; broken files of streams that write none of `tables` are ignored."""
    read = read_streams(lake.settings)
    for each in tables:
        read.refuse_broken(each.name, each.properties)
    return read.valid


def _code_version(sample_set: SampleSet, versions: Mapping[str, TableVersion]) -> int:
    taken = (
        versions[str(label.stream)].schema.field(label.value).type
        for label in sample_set.labels
        if label.value not in _NO_COLUMN
    )
    return _NAN_VERSION if any(map(pa.types.is_floating, taken)) else _CODE_VERSION


def _feature(use: FeatureUse, version: TableVersion, view: FeatureView) -> ResolvedFeature:
    ttl = use.ttl if use.ttl is not None else view.ttl
    arrival = arrival_order(version.schema.names)
    said = {*view.entity, view.event_time, view.known_at}
    rest = tuple(name for name in version.schema.names if name not in said)
    return ResolvedFeature(
        view=str(use.view),
        name=use.name,
        entity=view.entity,
        columns=tuple(zip(use.columns, use.column_names, strict=True)),
        event_time=view.event_time,
        known_at=view.known_at,
        ttl_us=None if ttl is None else ttl // ONE_US,
        delay_us=view.delay // ONE_US,
        order=arrival or rest or view.entity,
    )


def _arrivals(versions: Mapping[str, TableVersion]) -> dict[str, tuple[str, ...]]:
    return {name: arrival_order(version.schema.names) for name, version in versions.items()}


def arrival_order(names: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of the arrival order, which may have former names; () without an order."""
    now_to_then = {new: old for old, new in renamed_coordinates(names).items()}
    found = tuple(now_to_then.get(name, name) for name in _ARRIVAL)
    return found if set(found) <= set(names) else ()


def _label(lake: OpenLake, label: Label, key: str, version: TableVersion) -> ResolvedLabel:
    sources = source_tables(lake, version)
    read = [lake.table(name).head() for name in sorted(sources) if lake.exists(name)]
    lateness = {str(s.table): s.allowed_lateness for s in _streams_of(lake, read)}
    arrival = arrival_order(version.schema.names)
    return ResolvedLabel(
        name=label.name,
        table=str(label.stream),
        key=key,
        value=label.value,
        window_us=label.window // ONE_US,
        lateness_us=max((lateness[s] // ONE_US for s in sources if s in lateness), default=0),
        order=arrival or tuple(version.schema.names),
    )


def _problems(
    sample_set: SampleSet,
    versions: Mapping[str, TableVersion],
    views: Mapping[str, FeatureView | None],
) -> Iterator[str]:
    where = f"sample set `{sample_set.name}`"
    exposures = sample_set.exposures
    seen = versions[str(exposures.table)]
    yield from _missing(where, seen, (exposures.id, exposures.at, *exposures.entities))
    yield from _missing(where, seen, exposures.columns)
    yield from _hash_problems(where, sample_set, seen)
    if seen.partition_by != (f"day({exposures.at})",):
        yield (
            f"{where}: samples are built per day, so `{seen.name}` must be partitioned by "
            f"day({exposures.at}), but it is partitioned by {list(seen.partition_by)}"
        )
    for use in sample_set.features:
        if str(use.view) not in views:
            continue  # a window view
        version, view = versions[str(use.view)], views[str(use.view)]
        yield from _feature_problems(where, use, sample_set, version, view)
        for name in () if view is None else view.entity:
            yield from key_type_problems(where, seen, name, version, name)
    for label in sample_set.labels:
        version, key = versions[str(label.stream)], sample_set.label_key(label)
        yield from _missing(where, version, (key, "event_time", "known_at"))
        yield from key_type_problems(where, seen, exposures.id, version, key)
        if label.value not in _NO_COLUMN:
            yield from _missing(where, version, (label.value,))
            kind = (
                version.schema.field(label.value).type
                if label.value in version.schema.names
                else None
            )
            if kind is not None and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                yield f"{where}: label `{label.name}` takes `{label.value}`, which is {kind}, no number"
    yield from _clashes(where, sample_set)


def _hash_problems(where: str, sample_set: SampleSet, seen: TableVersion) -> Iterator[str]:
    """Say that negatives cannot be chosen by an id whose text is another one in each engine."""
    name, negatives = sample_set.exposures.id, sample_set.keep_negatives
    if negatives is None or negatives.rate >= 1 or name not in seen.schema.names:
        return
    kind = seen.schema.field(name).type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        yield (
            f"{where}: `keep_negatives` chooses by the text of the id, which engines write alike for "
            f"texts and whole numbers only, and `{name}` is {kind}"
        )


def _feature_problems(
    where: str,
    use: FeatureUse,
    sample_set: SampleSet,
    version: TableVersion,
    view: FeatureView | None,
) -> Iterator[str]:
    if view is None:
        yield (
            f"{where}: `{use.view}` is no feature view: it has no property `{FEATURE_VIEW_PROPERTY}`; declare "
            "`meta.headrace` on its dbt model, or `feature_view` in its stream"
        )
        return
    yield from _missing(where, version, (*use.columns, view.event_time, view.known_at))
    for name in view.entity:
        if name not in sample_set.exposures.entities:
            yield (
                f"{where}: `{use.view}` is about {list(view.entity)}, so `exposures.entities` "
                f"must list `{name}`"
            )


def _missing(where: str, version: TableVersion, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if name not in version.schema.names:
            there = ", ".join(f"`{column}`" for column in version.schema.names)
            yield f"{where}: `{version.name}` has no column `{name}`; it has {there}"


def _clashes(where: str, sample_set: SampleSet) -> Iterator[str]:
    owner: dict[str, str] = {}
    for name in (SAMPLE_ID, EVENT_TIME, LABEL_STATE, MATURE_AT, KEEP_RATE):
        owner[name] = "every sample"
    exposures = sample_set.exposures
    owned = [(name, "the exposures") for name in (*exposures.entities, *exposures.columns)]
    for use in sample_set.features:
        names = (*use.column_names, *(f"{use.name}__{what}" for what in ABOUT_ROW))
        owned += [(name, f"`{use.view}`") for name in names]
    for label in sample_set.labels:
        names = (label.name, f"{label.name}_at", f"{label.name}_state")
        owned += [(name, f"label `{label.name}`") for name in names]
    for name, by in owned:
        if name in owner:
            yield (
                f"{where}: column `{name}` would come from {owner[name]} and from {by}; give the "
                "feature a `prefix`, or the label another name"
            )
        owner.setdefault(name, by)
