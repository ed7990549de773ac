"""The figures of the house: which rooms there are, that imports make no circle, how long files get."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

ROOMS = {
    "cli",
    "datasets",
    "definitions",
    "dml",
    "engines",
    "errors",
    "flink",
    "iceberg",
    "ingest",
    "integrations",
    "interop",
    "loading",
    "maintenance",
    "model_inputs",
    "registry",
    "samples",
    "scaffold",
    "serving",
    "simulate",
    "standing",
    "storage",
    "tables",
}
SUB_ROOMS = {
    "ingest": {"decoding", "sources"},
    "interop": {"paimon"},
    "maintenance": {"cleanup", "compaction", "health", "queue"},
    "tables": {"catalogs", "commits", "evolution", "history", "publishing", "refs"},
}
FILE_LINES_MAX = 500
LONG_FILE_LINES = 300
LONG_FILES_MAX = 21  # to be brought down, never up
FUNCTION_LINES_MAX = 70
DOCUMENTED_SHARE_MIN = 0.97  # of public modules, classes, functions and methods


@cache
def modules() -> Mapping[str, ast.Module]:
    """Parse every module of the library, by its dotted name."""
    return {name_of(path): ast.parse(path.read_text()) for path in files()}


def files() -> list[Path]:
    return sorted((ROOT / "headrace").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def nodes(name: str) -> list[ast.Import | ast.ImportFrom | ast.Call | ast.FunctionDef]:
    """List the imports, calls and functions of a module, at any depth."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.FunctionDef)
    return [node for node in ast.walk(modules()[name]) if isinstance(node, kinds)]


def imported(name: str) -> Iterator[str]:
    """Yield what a module imports, inside of functions and for type checkers too."""
    for node in nodes(name):
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                within = f"{node.module}.{each.name}"
                yield within if within in modules() else node.module
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def test_the_rooms_are_those_of_the_design() -> None:
    assert {path.parent.name for path in (ROOT / "headrace").glob("*/__init__.py")} == ROOMS
    for room, sub_rooms in SUB_ROOMS.items():
        found = {path.parent.name for path in (ROOT / "headrace" / room).glob("*/__init__.py")}
        assert found == sub_rooms, room


def test_no_imports_make_a_circle() -> None:
    graph = {
        name: {each for each in imported(name) if each in modules() and each != name}
        for name in modules()
        if name != "headrace"  # it names what it offers, for type checkers only
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1])) from None


def test_nothing_is_imported_by_text_but_by_the_package_itself() -> None:
    calls = {
        name
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
    }
    assert calls == {"headrace"}


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files()}
    assert {str(path): lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}
    assert sum(lines > LONG_FILE_LINES for lines in lengths.values()) <= LONG_FILES_MAX


def test_a_function_fits_a_screen() -> None:
    long = {
        f"{name}.{node.name}": lines
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.FunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_every_module_says_what_it_is_for_and_public_names_what_they_promise() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []
    public = [node for tree in modules().values() for node in definitions(tree)]
    documented = sum(ast.get_docstring(node) is not None for node in public)
    assert documented / len(public) >= DOCUMENTED_SHARE_MIN


def definitions(
    tree: ast.Module | ast.ClassDef,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield the public classes, functions and methods of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node)


def test_every_file_of_commands_is_part_of_the_command_line() -> None:
    shells = [name for name in modules() if name.startswith("headrace.cli")]
    found = {
        name
        for name in shells
        for node in modules()[name].body
        if isinstance(node, ast.FunctionDef) and node.name == "register"
    }
    assert found <= {each for name in shells for each in imported(name)}
