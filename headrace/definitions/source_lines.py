"""YAML read together with the line of every key, so that a problem can say where it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """The content of one YAML file, the line of each place in it, and what is wrong with it as YAML."""

    content: Any
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    problems: tuple[tuple[int, str], ...] = ()

    def line_of(self, place: Place) -> int:
        """Give the line of `place`, or of the nearest place that holds it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_document(path: Path) -> Document:
    """Read one YAML file; broken YAML, repeated keys and anchors become problems, never exceptions."""
    try:
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
    if node is None:
        return Document(None, problems=((1, "is empty"),))
    reader = _Reader()
    content = reader.value(node, ())
    return Document(content, reader.lines, tuple(reader.problems))


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._scalars = yaml.SafeLoader("")
        self._open: set[int] = set()  # nodes being read: an alias to one of them has no end

    def value(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401  (YAML content)
        self.lines.setdefault(place, node.start_mark.line + 1)
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
            if key in content:
                self.problems.append((line, f"`{key}` is there twice"))
            self.lines[*place, key] = line
            content[key] = self.value(value_node, (*place, key))
        return content

    def _scalar(self, node: yaml.Node) -> Any:  # noqa: ANN401  (YAML content)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            line = node.start_mark.line + 1
            self.problems.append((line, f"`{node.value}` is not a plain YAML value"))
            return None
