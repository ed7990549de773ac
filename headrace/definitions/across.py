"""Checks sample sets against everything that a lake declares or has: one file cannot tell that alone."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.definitions.load import Declarations
from headrace.definitions.sample_set import Label, SampleSet
from headrace.definitions.source_lines import Place, read_document
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.identifiers import TableName

_NO_COLUMN = frozenset({"exists", "count"})  # values of a label that no column holds
_FOLDERS = ("streams", "samples", "windows")


@dataclass(frozen=True, kw_only=True)
class KnownTable:
    """What is known of a table: by its stream's contract, its dbt model, or as it is.

    Args:
        columns: Their names; None if they are not known.
        entity: Of a feature view; empty for a table that is none, None if that is not known.

    """

    columns: frozenset[str] | None = None
    entity: tuple[str, ...] | None = None

    def also(self, other: "KnownTable") -> "KnownTable":
        """Add what is known otherwise, as of a model and the table that it built before."""
        columns = self.columns
        if columns is not None and other.columns is not None:
            columns |= other.columns
        return replace(self, columns=columns or other.columns, entity=self.entity or other.entity)


def table_of(stream: Stream) -> KnownTable:
    """Return what a contract says of its table."""
    columns = frozenset(stream.table_schema().names)
    return KnownTable(
        columns=columns, entity=stream.feature_view.entity if stream.feature_view else ()
    )


def problems_across(
    declared: Declarations, tables: Mapping[str, KnownTable], *, root: Path
) -> tuple[str, ...]:
    """Report what sample sets name and nothing is: each with file, line and the nearest name.

    `tables` are those of dbt models, and of the lake if there is one. A contract decides about the
    table of its stream. Files that are broken themselves are reported elsewhere.
    """
    known = dict(tables) | {str(each.table): table_of(each) for each in declared.streams.values()}
    for view in declared.window_views.values():
        known[str(view.view)] = KnownTable(entity=view.entity)
    found: list[str] = []
    for name, sample_set in declared.sample_sets.items():
        path = declared.sample_set_files[name]
        document = read_document(path)
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        for place, text in _of_sample_set(sample_set, known):
            found.append(f"{shown}:{document.line_of(place)}  {text}")
    return tuple(found)


def stray_files(declarations: Path) -> list[Path]:
    """List YAML files beside the folders that are read: nothing reads them."""
    if not declarations.is_dir():
        return []
    return sorted(
        path
        for path in declarations.rglob("*")
        if path.suffix in {".yaml", ".yml"}
        and path.is_file()
        and not (path.parent.parent == declarations and path.parent.name in _FOLDERS)
    )


def _of_sample_set(
    sample_set: SampleSet, known: Mapping[str, KnownTable]
) -> Iterator[tuple[Place, str]]:
    exposures = sample_set.exposures
    table = known.get(str(exposures.table))
    if table is None:
        yield ("exposures", "table"), _unknown(exposures.table, known)
    wanted: list[tuple[Place, str]] = [
        (("exposures", "id"), exposures.id),
        (("exposures", "at"), exposures.at),
        *((("exposures", "entities"), each) for each in exposures.entities),
        *((("exposures", "columns"), each) for each in exposures.columns),
    ]
    yield from _missing(exposures.table, table, wanted)
    for at, use in enumerate(sample_set.features):
        place: Place = ("features", at)
        table = known.get(str(use.view))
        if table is None:
            yield (*place, "view"), _unknown(use.view, known)
            continue
        if table.entity == ():
            advice = "declare `feature_view` in its stream, or `meta.headrace` on its dbt model"
            yield (*place, "view"), f"`{use.view}` is no feature view; {advice}"
        yield from _missing(use.view, table, [((*place, "columns"), each) for each in use.columns])
        for name in table.entity or ():
            if name not in exposures.entities:
                text = f"`{use.view}` is about `{name}`, which `entities` does not list"
                yield ("exposures", "entities"), text
    for at, label in enumerate(sample_set.labels):
        yield from _of_label(sample_set, label, ("labels", at), known)


def _of_label(
    sample_set: SampleSet, label: Label, place: Place, known: Mapping[str, KnownTable]
) -> Iterator[tuple[Place, str]]:
    table = known.get(str(label.stream))
    if table is None:
        yield (*place, "stream"), _unknown(label.stream, known)
        return
    wanted: list[tuple[Place, str]] = [
        ((*place, "key"), sample_set.label_key(label)),
        ((*place, "stream"), EVENT_TIME),
        ((*place, "stream"), KNOWN_AT),
    ]
    if label.value not in _NO_COLUMN:
        wanted.append(((*place, "value"), label.value))
    yield from _missing(label.stream, table, wanted)


def _unknown(name: TableName, known: Collection[str]) -> str:
    return f"`{name}` is no table, stream or dbt model of this lake; {_nearest(str(name), known)}"


def _missing(
    name: TableName, table: KnownTable | None, wanted: Iterable[tuple[Place, str]]
) -> Iterator[tuple[Place, str]]:
    if table is None or table.columns is None:
        return
    for place, column in wanted:
        if column not in table.columns:
            yield place, f"`{name}` has no column `{column}`; {_nearest(column, table.columns)}"


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return "there are " + (", ".join(f"`{each}`" for each in sorted(known)) or "none")
