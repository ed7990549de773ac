"""Load the declarations of a lake, and report all problems with file and line."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from headrace.config import Settings
from headrace.definitions.broken import BrokenFile, broken_table
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.problem import Finding, Problem, problem_at_mark, shown
from headrace.definitions.problem_text import allowed_of, place_of, text_of
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY, STREAM_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.source_lines import Document, Fault, read_document
from headrace.definitions.stream import Stream
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import Windows, resolve_windows, window_problems
from headrace.errors import DefinitionError
from headrace.identifiers import TableName

D = TypeVar("D", Stream, SampleSet, WindowView)
Known = TypeVar("Known")


@dataclass(frozen=True)
class Declarations:
    """Everything a lake declares; `broken` are the files that cannot be used.

    `stream_files` and `sample_set_files` name the files of the others.
    """

    streams: Mapping[str, Stream]
    sample_sets: Mapping[str, SampleSet]
    broken: tuple[BrokenFile, ...] = ()
    window_views: Mapping[str, WindowView] = field(default_factory=dict[str, WindowView])
    stream_files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    sample_set_files: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def count(self) -> int:
        """The number of valid declarations."""
        return len(self.streams) + len(self.sample_sets) + len(self.window_views)

    @property
    def broken_streams(self) -> tuple[BrokenFile, ...]:
        """The files of streams that cannot be used."""
        return tuple(each for each in self.broken if each.kind == Stream.noun)

    @property
    def broken_sample_sets(self) -> tuple[BrokenFile, ...]:
        """The files of sample sets that cannot be used."""
        return tuple(each for each in self.broken if each.kind == SampleSet.noun)

    @property
    def found(self) -> tuple[Problem, ...]:
        """Every problem."""
        return tuple(problem for each in self.broken for problem in each.found)

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem, with file and line."""
        return tuple(map(str, self.found))


@dataclass(frozen=True)
class StreamsRead:
    """The streams that can be used, and the files that cannot."""

    valid: tuple[Stream, ...]
    broken: tuple[BrokenFile, ...]

    def refuse_broken(self, table: TableName, properties: Mapping[str, str]) -> None:
        """Raise if a broken file may be the declaration of a table.

        A file whose table cannot be read may be that of any stream's table without a declaration.

        Raises:
            DefinitionError: With the problems of those files.

        """
        declared = any(stream.table == table for stream in self.valid)
        lacks_one = not declared and STREAM_PROPERTY in properties
        suspects = [
            each
            for each in self.broken
            if each.table == table or (each.table is None and lacks_one)
        ]
        if suspects:
            raise DefinitionError(tuple(text for each in suspects for text in each.problems))


def inspect_declarations(settings: Settings) -> Declarations:
    """Read all files and report every problem; never raises for the contents of a file.

    Of declarations with one name or one table, none can be used: which is meant is unknown.
    """
    streams = _load_folder(settings, "streams", Stream)
    sample_sets = _load_folder(settings, "samples", SampleSet)
    window_views = _load_window_views(settings, streams)
    return Declarations(
        streams.loaded,
        sample_sets.loaded,
        streams.broken + sample_sets.broken + window_views.broken,
        window_views.loaded,
        streams.files,
        sample_sets.files,
    )


def load_streams(settings: Settings) -> dict[str, Stream]:
    """Read `lake/streams/*.yaml`, by stream name.

    Raises:
        DefinitionError: With every problem of every stream file.

    """
    return _load_or_raise(settings, "streams", Stream)


def read_streams(settings: Settings) -> StreamsRead:
    """Read `lake/streams/*.yaml`; never raises for the contents of a file.

    For work on some tables: call `refuse_broken` for each of them, so that the broken file of
    another stream does not stop it.
    """
    found = _load_folder(settings, "streams", Stream)
    return StreamsRead(tuple(found.loaded.values()), found.broken)


def load_window_views(settings: Settings) -> dict[str, Windows]:
    """Read `lake/windows/*.yaml`, by the name of the view, each with the contract of its stream.

    Raises:
        DefinitionError: With every problem of every file of a window view, and of the files of
            streams, which they may come from.

    """
    streams = _load_folder(settings, "streams", Stream)
    found = _load_window_views(settings, streams)
    declared = {stream.table for stream in streams.loaded.values()}
    if found.broken or any(view.events not in declared for view in found.loaded.values()):
        broken = found.broken + streams.broken
        raise DefinitionError(tuple(text for each in broken for text in each.problems))
    return {
        name: resolve_windows(view, streams.loaded.values()) for name, view in found.loaded.items()
    }


def _load_window_views(settings: Settings, streams: "_Folder[Stream]") -> "_Folder[WindowView]":
    """Load window views; one whose stream cannot be used is no worse for that itself."""
    unclear = {each.table for each in streams.broken}

    def check(view: WindowView) -> Iterable[Finding]:
        return () if view.events in unclear else window_problems(view, streams.loaded.values())

    return _load_folder(settings, "windows", WindowView, check=check)


def view_of(
    table: TableName, properties: Mapping[str, str], *, streams: Iterable[Stream]
) -> FeatureView | None:
    """Return the feature view that a table is; None if it is not one.

    For the table of a stream, the current contract decides, as `properties` may have an older TTL
    from the last ingest. For any other table `properties` decide.
    """
    for stream in streams:
        if stream.table == table:
            return stream.view()
    text = properties.get(FEATURE_VIEW_PROPERTY)
    return None if text is None else FeatureView.from_property(table, text)


def load_sample_sets(settings: Settings) -> dict[str, SampleSet]:
    """Read `lake/samples/*.yaml`, by sample set name.

    Raises:
        DefinitionError: With every problem of every sample set file.

    """
    return _load_or_raise(settings, "samples", SampleSet)


def _load_or_raise(settings: Settings, folder: str, model: type[D]) -> dict[str, D]:
    found = _load_folder(settings, folder, model)
    if found.broken:
        raise DefinitionError(tuple(text for each in found.broken for text in each.problems))
    return found.loaded


class _Folder(NamedTuple, Generic[D]):
    loaded: dict[str, D]
    broken: tuple[BrokenFile, ...]
    files: dict[str, Path]


def _load_folder(
    settings: Settings,
    folder: str,
    model: type[D],
    *,
    check: Callable[[D], Iterable[Finding]] = lambda _: (),
) -> _Folder[D]:
    read: dict[Path, tuple[D | None, Document]] = {}
    problems: dict[Path, list[Fault]] = {}
    for path in _yaml_files(settings.declarations / folder):
        document = read_document(path)
        declared, found = parse_declaration(document, model)
        read[path] = declared, document
        problems[path] = list(found)
        if declared is not None:
            problems[path] += [
                Fault(document.mark_of(place), f"`{place[0]}`: {text}", allowed)
                for place, text, allowed in check(declared)
            ]
    valid = {path: each for path, (each, _) in read.items() if each is not None}
    names = {path: shown(path, settings.root) for path in read}
    for key, value, path, other in _clashes(valid, model):
        text = f"`{value}` is declared in `{names[other]}` too, so that neither can be used"
        problems[path].append(Fault(read[path][1].mark_of((key,)), text))
    fine = {path: each for path, each in valid.items() if not problems[path]}
    return _Folder(
        {each.name: each for each in fine.values()},
        tuple(
            BrokenFile(
                path=path,
                kind=model.noun,
                table=broken_table(path),
                found=tuple(problem_at_mark(fault, file=names[path]) for fault in found),
            )
            for path, found in problems.items()
            if found
        ),
        {each.name: path for path, each in fine.items()},
    )


def _clashes(valid: Mapping[Path, D], model: type[D]) -> Iterator[tuple[str, str, Path, Path]]:
    """Yield the key, the value, the file and another file of each name or table that two declare."""
    name_key = str(next(iter(model.model_fields)))
    claims: dict[tuple[str, str], list[Path]] = {}
    for path, declared in valid.items():
        # a window view's name is that of its table
        for value, key in {str(declared.table): "table", declared.name: name_key}.items():
            claims.setdefault((key, value), []).append(path)
        if isinstance(declared, Stream) and declared.keyed_table is not None:
            claims.setdefault(("keyed", declared.keyed_table), []).append(path)
    for (key, value), paths in claims.items():
        for path, other in permutations(paths, 2):
            yield key, value, path, other


def _yaml_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})


def parse_declaration(document: Document, model: type[D]) -> tuple[D | None, tuple[Fault, ...]]:
    """Validate one document: return the declaration if it is valid, else what is wrong."""
    problems = list(document.problems)
    if document.content is None:
        return None, tuple(problems)
    try:
        declared = model.model_validate(document.content)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            mark, allowed = document.mark_of(place_of(detail)), allowed_of(detail, model)
            problems.append(Fault(mark, text_of(detail, model), allowed))
        return None, tuple(sorted(set(problems), key=lambda each: (each.mark.line, each.text)))
    return (None if problems else declared), tuple(problems)


def declared_as(name: str, declared: Mapping[str, Known], *, what: str) -> Known:
    """Return the declaration of a name.

    Raises:
        DefinitionError: Listing the names there are, if it is none of them.

    """
    if name not in declared:
        known = ", ".join(f"`{each}`" for each in declared) or "none"
        raise DefinitionError((f"there is no {what} `{name}`; declared are {known}",))
    return declared[name]
