"""Checks sample sets against everything that a lake declares or has: one file cannot tell that alone."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.definitions.load import Declarations
from headrace.definitions.problem import Finding, Problem, hint, problem_of, shown
from headrace.definitions.sample_set import LOG_COLUMNS, Label, SampleSet
from headrace.definitions.source_lines import Place, read_document
from headrace.definitions.sources import KafkaSource
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.window_rows import SUFFIX
from headrace.identifiers import TableName

_NO_COLUMN = frozenset({"exists", "count"})  # values of a label that no column holds
_FOLDERS = ("streams", "samples", "windows")
_READ = (".yaml", ".yml")
_ENDING = re.compile(r"\.ya?ml(\.txt)?$")


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
) -> tuple[Problem, ...]:
    """Report what sample sets name and nothing is: each with its place and the nearest name.

    `tables` are those of dbt models, and of the lake if there is one. A contract decides about the
    table of its stream. Files that are broken themselves are reported elsewhere.
    """
    known = dict(tables) | {str(each.table): table_of(each) for each in declared.streams.values()}
    for view in declared.window_views.values():
        values = frozenset(view.columns)
        known[str(view.view)] = KnownTable(columns=values, entity=view.entity)
        rows = KnownTable(columns=values | {*view.entity, EVENT_TIME, KNOWN_AT}, entity=view.entity)
        known.setdefault(f"{view.view}{SUFFIX}", rows)
    found: list[Problem] = []
    for name, sample_set in declared.sample_sets.items():
        path = declared.sample_set_files[name]
        document = read_document(path)
        for finding in _of_sample_set(sample_set, known):
            found.append(problem_of(finding, document, file=shown(path, root)))
    return tuple(found)


def stray_problems(declarations: Path, declared: Declarations, *, root: Path) -> Iterator[Problem]:
    """Report files among the declarations that look like one and that nothing reads."""
    paths = sorted(declarations.rglob("*")) if declarations.is_dir() else []
    named = {name for each in declared.streams.values() for name in _schema_files(each)}
    for path in paths:
        name = path.relative_to(declarations).as_posix()
        if name in named or not _ENDING.search(path.name.lower()) or not path.is_file():
            continue
        folder = name.rpartition("/")[0]
        if folder not in _FOLDERS:
            near = hint(folder, _FOLDERS)
            text = f"it is in no folder that is read, so that nothing reads it; {near}"
            yield Problem(file=shown(path, root), message=text, allowed=_FOLDERS)
        elif path.suffix not in _READ:
            text = (
                f"it ends in `{path.suffix}`, so that nothing reads it; `.yaml` and `.yml` are read"
            )
            yield Problem(file=shown(path, root), message=text, allowed=_READ)


def _schema_files(stream: Stream) -> Iterator[str]:
    if isinstance(stream.source, KafkaSource):
        topic = stream.source.kafka
        yield from (*topic.schemas.values(), *filter(None, [topic.schema_file]))


def _of_sample_set(sample_set: SampleSet, known: Mapping[str, KnownTable]) -> Iterator[Finding]:
    exposures = sample_set.exposures
    table = known.get(str(exposures.table))
    if table is None:
        yield _unknown(exposures.table, known, ("exposures", "table"))
    wanted: list[tuple[Place, str]] = [
        (("exposures", "id"), exposures.id),
        (("exposures", "at"), exposures.at),
        *((("exposures", "entities", at), each) for at, each in enumerate(exposures.entities)),
        *((("exposures", "columns", at), each) for at, each in enumerate(exposures.columns)),
    ]
    yield from _missing(exposures.table, table, wanted)
    for at, use in enumerate(sample_set.features):
        place: Place = ("features", at)
        table = known.get(str(use.view))
        if table is None:
            yield _unknown(use.view, known, (*place, "view"))
            continue
        if table.entity == ():
            advice = "declare `feature_view` in its stream, or `meta.headrace` on its dbt model"
            views = tuple(sorted(name for name, each in known.items() if each.entity))
            yield Finding((*place, "view"), f"`{use.view}` is no feature view; {advice}", views)
        wanted = [((*place, "columns", number), each) for number, each in enumerate(use.columns)]
        yield from _missing(use.view, table, wanted)
        for name in table.entity or ():
            if name not in exposures.entities:
                text = f"`{use.view}` is about `{name}`, which `entities` does not list"
                yield Finding(("exposures", "entities"), text)
    if sample_set.logged is not None:
        table = known.get(str(sample_set.logged.log))
        if table is None:
            yield _unknown(sample_set.logged.log, known, ("logged", "log"))
        wanted = [(("logged", "log"), name) for name in LOG_COLUMNS]
        yield from _missing(
            sample_set.logged.log, table, [*wanted, (("logged", "id"), sample_set.log_key)]
        )
    for at, label in enumerate(sample_set.labels):
        yield from _of_label(sample_set, label, ("labels", at), known)


def _of_label(
    sample_set: SampleSet, label: Label, place: Place, known: Mapping[str, KnownTable]
) -> Iterator[Finding]:
    table = known.get(str(label.stream))
    if table is None:
        yield _unknown(label.stream, known, (*place, "stream"))
        return
    key = sample_set.label_key(label)
    wanted: list[tuple[Place, str]] = [
        ((*place, "stream"), EVENT_TIME),
        ((*place, "stream"), KNOWN_AT),
    ]
    if label.key is not None:
        wanted.insert(0, ((*place, "key"), key))
    elif table.columns is not None and key not in table.columns:
        text = f"`{label.stream}` has no column `{key}`, as the exposure's id is named; say by `key` which one holds it; {hint(key, table.columns)}"
        yield Finding(place, text, tuple(sorted(table.columns)))
    yield from _missing(label.stream, table, wanted)
    if table.columns is not None and label.value not in table.columns | _NO_COLUMN:
        values = tuple(sorted(table.columns | _NO_COLUMN))
        near = hint(label.value, values)
        text = f"`{label.value}` is no column of `{label.stream}`, `exists` or `count`; {near}"
        yield Finding((*place, "value"), text, values)


def _unknown(name: TableName, known: Collection[str], place: Place) -> Finding:
    near = hint(str(name), known)
    text = f"`{name}` is no table, stream or dbt model of this lake; {near}"
    return Finding(place, text, tuple(sorted(known)))


def _missing(
    name: TableName, table: KnownTable | None, wanted: Iterable[tuple[Place, str]]
) -> Iterator[Finding]:
    if table is None or table.columns is None:
        return
    for place, column in wanted:
        if column not in table.columns:
            text = f"`{name}` has no column `{column}`; {hint(column, table.columns)}"
            yield Finding(place, text, tuple(sorted(table.columns)))
