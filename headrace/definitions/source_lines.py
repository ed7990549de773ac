"""Read YAML with the line of every key, so that problems can be reported with their line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Place = tuple[str | int, ...]
FILE_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
VALUES_MAX = 100_000  # an alias counts as its expansion: aliases of aliases multiply
_TOO_DEEP = f"is nested more than {DEPTH_MAX} deep"
# what PyYAML raises for a scalar that does not have the type of its tag
_BAD_SCALAR = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError)


@dataclass(frozen=True)
class Document:
    """The content of one YAML file, the line of each place in it, and its YAML problems."""

    content: Any
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    problems: tuple[tuple[int, str], ...] = ()

    def line_of(self, place: Place) -> int:
        """Return the line of `place`, or of the nearest enclosing place."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_document(path: Path) -> Document:
    """Read one YAML file; invalid YAML, repeated keys and anchors become problems, not exceptions."""
    try:
        if not path.is_file():
            return Document(None, problems=((1, "is not a file"),))
        if path.stat().st_size > FILE_BYTES_MAX:
            return Document(None, problems=((1, f"is larger than {FILE_BYTES_MAX} bytes"),))
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        return Document(None, problems=((1, f"cannot be read: {error.strerror}"),))
    except UnicodeDecodeError:
        return Document(None, problems=((1, "is not UTF-8 text"),))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return Document(
            None, problems=((mark.line + 1 if mark else 1, f"is not YAML: {error.problem}"),)
        )
    except yaml.YAMLError as error:
        return Document(None, problems=((1, f"is not YAML: {error}"),))
    except RecursionError:
        return Document(None, problems=((1, _TOO_DEEP),))
    if node is None:
        return Document(None, problems=((1, "is empty"),))
    reader = _Reader()
    try:
        content = reader.value(node, ())
    except _TooMuchError as error:
        return Document(None, problems=((error.line, error.problem),))
    return Document(content, reader.lines, tuple(reader.problems))


class _TooMuchError(Exception):
    def __init__(self, line: int, problem: str) -> None:
        self.line, self.problem = line, problem
        super().__init__(problem)


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._scalars = yaml.SafeLoader("")
        self._values = 0
        self._open: set[int] = (
            set()
        )  # nodes being read: an alias to one of them would recurse forever

    def value(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401  (YAML content)
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooMuchError(line, f"has more than {VALUES_MAX} values, aliases counted")
        if len(place) > DEPTH_MAX:
            raise _TooMuchError(line, _TOO_DEEP)
        if id(node) in self._open:
            self.problems.append((node.start_mark.line + 1, "an anchor refers to itself"))
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
            line = key_node.start_mark.line + 1
            if not _is_text(key):
                self.problems.append((line, "a key is not text"))
                continue
            if key in content:
                self.problems.append((line, f"`{key}` occurs twice"))
            self.lines[*place, key] = line
            content[key] = self.value(value_node, (*place, key))
        return content

    def _scalar(self, node: yaml.Node) -> Any:  # noqa: ANN401  (YAML content)
        line = node.start_mark.line + 1
        if not _is_text(str(node.value)):
            self.problems.append((line, "a value is not text"))
            return None
        try:
            return self._scalars.construct_object(node)
        except _BAD_SCALAR:
            self.problems.append((line, f"`{node.value}` is not a plain YAML value"))
            return None


def _is_text(value: str) -> bool:
    """Whether a text can be encoded; half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
