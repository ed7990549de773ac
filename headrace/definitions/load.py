"""Load the declarations of a lake, and report all problems with file and line."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from headrace.config import Settings
from headrace.definitions.base import Declaration
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.source_lines import Document, Place, read_document
from headrace.definitions.stream import Stream
from headrace.errors import DefinitionError
from headrace.identifiers import TableName

D = TypeVar("D", Stream, SampleSet)


@dataclass(frozen=True)
class Declarations:
    """Everything a lake declares."""

    streams: Mapping[str, Stream]
    sample_sets: Mapping[str, SampleSet]
    problems: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of valid declarations."""
        return len(self.streams) + len(self.sample_sets)


def inspect_declarations(settings: Settings) -> Declarations:
    """Read all files and report every problem; never raises for the contents of a file."""
    problems: list[str] = []
    streams = _load_folder(settings, "streams", Stream, problems)
    sample_sets = _load_folder(settings, "samples", SampleSet, problems)
    return Declarations(streams, sample_sets, tuple(problems))


def load_streams(settings: Settings) -> dict[str, Stream]:
    """Read `lake/streams/*.yaml`, by stream name.

    Raises:
        DefinitionError: With every problem of every stream file.

    """
    return _load_or_raise(settings, "streams", Stream)


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
    problems: list[str] = []
    loaded = _load_folder(settings, folder, model, problems)
    if problems:
        raise DefinitionError(tuple(problems))
    return loaded


def _load_folder(
    settings: Settings, folder: str, model: type[D], problems: list[str]
) -> dict[str, D]:
    loaded: dict[str, D] = {}
    owners: dict[str, str] = {}  # name or table, which must be unique -> the file that declares it
    for path in _yaml_files(settings.declarations / folder):
        shown = _shown(path, settings.root)
        document = read_document(path)
        declared, found = parse_declaration(document, model)
        problems += [f"{shown}:{line}  {text}" for line, text in found]
        if declared is None:
            continue
        clash = False
        for what, value in ((folder, declared.name), ("table", str(declared.table))):
            owner = owners.setdefault(f"{what} {value}", shown)
            if owner != shown:
                key = "table" if what == "table" else str(next(iter(model.model_fields)))
                line = document.line_of((key,))
                problems.append(f"{shown}:{line}  `{value}` is declared in `{owner}` already")
                clash = True
        if not clash:
            loaded[declared.name] = declared
    return loaded


def _yaml_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def parse_declaration(
    document: Document, model: type[D]
) -> tuple[D | None, tuple[tuple[int, str], ...]]:
    """Validate one document: return the declaration if it is valid, else (line, problem) pairs."""
    problems = list(document.problems)
    if document.content is None:
        return None, tuple(problems)
    try:
        declared = model.model_validate(document.content)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problems.append((document.line_of(_place(detail)), _text(detail, model)))
        return None, tuple(sorted(set(problems)))
    return (None if problems else declared), tuple(problems)


def _place(detail: ErrorDetails) -> Place:
    place = tuple(part for part in detail["loc"] if part != "[key]")
    if len(place) > 1 and place[0] == "source":
        place = (place[0], *place[2:])  # without the kind of source that was meant
    return (*place, detail.get("ctx", {})["key"]) if detail["type"] == "problem_at" else place


def _text(detail: ErrorDetails, model: type[Declaration]) -> str:
    place = _place(detail)
    name = str(place[-1]) if place else ""
    holder = _model_at(model, place[:-1]) if place else model
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(name, holder)
    if kind == "missing":
        return f"`{name}` is missing; {holder.noun} must have it"
    if kind in ("value_error", "problem_at"):
        message = str(detail["msg"]).removeprefix("Value error, ")
        return f"`{_dotted(place)}`: {message}" if place else message
    found = _short(detail["input"])
    return f"`{_dotted(place)}` is {found}, but must be {_wanted(detail)}"


def _unknown_key(name: str, holder: type[Declaration]) -> str:
    allowed = list(holder.model_fields)
    guess = holder.misnomers.get(name) or next(
        iter(difflib.get_close_matches(name, allowed, n=1)), None
    )
    hint = (
        f"did you mean `{guess}`?"
        if guess
        else "allowed are " + ", ".join(f"`{key}`" for key in allowed)
    )
    return f"`{name}` is not a field of {holder.noun}; {hint}"


_WANTED = {
    "string_type": "text",
    "bool_type": "`true` or `false`",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "too_short": "a list or mapping with at least one entry",
    "is_instance_of": "a table name such as `raw.clicks`",
}


def _wanted(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return "one of " + str(context["expected"]).replace("'", "`").replace(" or ", ", ")
        case "greater_than":
            return f"more than {context['gt']:g}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case kind:
            told = str(detail["msg"])
            return _WANTED.get(kind, told[:1].lower() + told[1:])


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    text = text.strip("'") if isinstance(value, str) else text
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _model_at(model: type[Declaration], place: Place) -> type[Declaration]:
    """Find the model that a place inside a document belongs to."""
    for part, following in zip(place, (*place[1:], None), strict=False):
        field = model.model_fields.get(str(part))
        if field is not None:
            inner = list(_models_in(field.annotation))
            fitting = (each for each in inner if str(following) in each.model_fields)
            model = next(fitting, inner[0] if inner else model)
    return model


def _models_in(annotation: Any) -> Iterator[type[Declaration]]:  # noqa: ANN401  (a type expression)
    if isinstance(annotation, type) and issubclass(annotation, Declaration):
        yield annotation
    elif get_origin(annotation) is not None or get_args(annotation):
        for argument in get_args(annotation):
            yield from _models_in(argument)
