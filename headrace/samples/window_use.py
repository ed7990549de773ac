"""How a sample set uses window views: which columns, computed from which events."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.definitions.load import load_window_views
from headrace.definitions.sample_set import FeatureUse, SampleSet
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT
from headrace.definitions.windows import Windows
from headrace.identifiers import TableName
from headrace.samples.key_types import key_type_problems
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class ResolvedWindows:
    """Columns of one window view; `columns` pairs each with its name in a sample.

    `coordinate` names the columns of the events' table that order their arrival.
    """

    windows: Windows
    columns: tuple[tuple[str, str], ...]
    coordinate: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "ResolvedWindows":
        """Read what a recipe says."""
        return cls(
            windows=Windows.from_json(json.dumps(said["windows"])),
            columns=tuple((column, name) for column, name in said["columns"]),
            coordinate=tuple(said["coordinate"]),
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the events' table that it reads."""
        return (*events_read(self.windows), *self.coordinate)


def events_read(windows: Windows) -> tuple[str, ...]:
    """Name the columns of the events' table that a window view reads, but for the coordinates."""
    key = () if windows.key is None else (windows.key,)
    named = (*windows.entity, EVENT_TIME, KNOWN_AT, *key, *windows.inputs)
    return tuple(dict.fromkeys(named))


def windows_used(lake: OpenLake, sample_set: SampleSet) -> dict[TableName, Windows]:
    """Return the window views that a sample set names: those of its views that are no tables.

    Raises:
        DefinitionError: If there may be one, and a declaration of a window view cannot be read.

    """
    named = [use.view for use in sample_set.features if not lake.exists(use.view)]
    if not named:
        return {}
    declared = load_window_views(lake.settings)
    return {view: declared[str(view)] for view in named if str(view) in declared}


def window_use_problems(
    sample_set: SampleSet,
    windows: Mapping[TableName, Windows],
    versions: Mapping[str, TableVersion],
) -> Iterator[str]:
    """Yield what in the uses of window views contradicts their declarations, or the events' tables."""
    for use in sample_set.features:
        if use.view in windows:
            used = windows[use.view]
            seen, events = versions[str(sample_set.exposures.table)], versions[used.events]
            yield from _problems(use, used, sample_set, events)
            for name in used.entity:
                where = f"sample set `{sample_set.name}`"
                yield from key_type_problems(where, seen, name, events, name)


def _problems(
    use: FeatureUse, windows: Windows, sample_set: SampleSet, events: TableVersion
) -> Iterator[str]:
    where = f"sample set `{sample_set.name}`"
    there = [column.name for column in windows.columns]
    for name in use.columns:
        if name not in there:
            listed = ", ".join(f"`{column}`" for column in there)
            yield f"{where}: `{use.view}` has no column `{name}`; it has {listed}"
    for name in windows.entity:
        if name not in sample_set.exposures.entities:
            yield (
                f"{where}: `{use.view}` is about {list(windows.entity)}, so `exposures.entities` "
                f"must list `{name}`"
            )
    for name in (*events_read(windows), *COORDINATES.names[:1]):
        if name not in events.schema.names:
            yield f"{where}: `{use.view}` reads `{events.name}`, which has no column `{name}`"
    if use.ttl is not None:
        yield f"{where}: `{use.view}` is a window view, whose values do not age; take out the `ttl`"


def resolved_use(use: FeatureUse, windows: Windows, coordinate: tuple[str, ...]) -> ResolvedWindows:
    """Fill in what the use of a window view leaves to its declaration and the events' table."""
    columns = tuple(zip(use.columns, use.column_names, strict=True))
    return ResolvedWindows(windows=windows, columns=columns, coordinate=coordinate)
