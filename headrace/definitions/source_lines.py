"""Read YAML with line and column of every key, so that problems can be reported with their place."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Place = tuple[str | int, ...]
FILE_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
_FILES_KEPT = 128
VALUES_MAX = 100_000  # an alias counts as its expansion: aliases of aliases multiply
_TOO_DEEP = f"is nested more than {DEPTH_MAX} deep"
# what PyYAML raises for a scalar that does not have the type of its tag
_BAD_SCALAR = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError)


class Mark(NamedTuple):
    """Where something begins; both count from 1."""

    line: int
    column: int


_START = Mark(1, 1)


class Fault(NamedTuple):
    """What is wrong at a mark of a file; `allowed` are the names that may stand there, if they are few."""

    mark: Mark
    text: str
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """The content of one YAML file, where each place in it begins, and its YAML problems."""

    content: Any
    marks: dict[Place, Mark] = field(default_factory=dict[Place, Mark])
    problems: tuple[Fault, ...] = ()

    def mark_of(self, place: Place) -> Mark:
        """Return where `place` begins, or the nearest enclosing place."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, _START)


def read_document(path: Path) -> Document:
    """Read one YAML file; invalid YAML, repeated keys and anchors become problems, not exceptions."""
    try:
        if not path.is_file():
            return _unread("is not a file")
        if path.stat().st_size > FILE_BYTES_MAX:
            return _unread(f"is larger than {FILE_BYTES_MAX} bytes")
        text = path.read_text(encoding="utf-8")
        node = _compose(text)
    except OSError as error:
        return _unread(f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _unread("is not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return _unread(f"is not YAML: {error.problem}", mark=_mark(mark) if mark else _START)
    except yaml.YAMLError as error:
        return _unread(f"is not YAML: {error}")
    except RecursionError:
        return _unread(_TOO_DEEP)
    if node is None:
        return _unread("is empty")
    reader = _Reader()
    try:
        content = reader.value(node, ())
    except _TooMuchError as error:
        return _unread(error.problem, mark=error.mark)
    return Document(content, reader.marks, tuple(reader.problems))


@functools.lru_cache(_FILES_KEPT)
def _compose(text: str) -> yaml.Node | None:
    """Compose nodes, which nothing changes, once for each text: a service reads its files often."""
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _unread(problem: str, *, mark: Mark = _START) -> Document:
    return Document(None, problems=(Fault(mark, problem),))


def _mark(at: yaml.Mark) -> Mark:
    return Mark(at.line + 1, at.column + 1)


class _TooMuchError(Exception):
    def __init__(self, mark: Mark, problem: str) -> None:
        self.mark, self.problem = mark, problem
        super().__init__(problem)


class _Reader:
    def __init__(self) -> None:
        self.marks: dict[Place, Mark] = {}
        self.problems: list[Fault] = []
        self._scalars = yaml.SafeLoader("")
        self._values = 0
        self._open: set[int] = (
            set()
        )  # nodes being read: an alias to one of them would recurse forever

    def value(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401  (YAML content)
        mark = _mark(node.start_mark)
        self.marks.setdefault(place, mark)
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooMuchError(mark, f"has more than {VALUES_MAX} values, aliases counted")
        if len(place) > DEPTH_MAX:
            raise _TooMuchError(mark, _TOO_DEEP)
        if id(node) in self._open:
            self.problems.append(Fault(mark, "an anchor refers to itself"))
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, at)) for at, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            mark = _mark(key_node.start_mark)
            if not _is_text(key):
                self.problems.append(Fault(mark, "a key is not text"))
                continue
            if key in content:
                self.problems.append(Fault(mark, f"`{key}` occurs twice"))
            self.marks[*place, key] = mark
            content[key] = self.value(value_node, (*place, key))
        return content

    def _scalar(self, node: yaml.Node) -> Any:  # noqa: ANN401  (YAML content)
        mark = _mark(node.start_mark)
        if not _is_text(str(node.value)):
            self.problems.append(Fault(mark, "a value is not text"))
            return None
        try:
            return self._scalars.construct_object(node)
        except _BAD_SCALAR:
            self.problems.append(Fault(mark, f"`{node.value}` is not a plain YAML value"))
            return None


def _is_text(value: str) -> bool:
    """Whether a text can be encoded; half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
