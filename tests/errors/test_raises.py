"""Public functions name in `Raises:` the errors of the lake that they raise themselves."""

import ast
from collections.abc import Iterator

import pytest

from headrace import errors
from headrace.errors import LakeError
from tests.conftest import ROOT

_FILES = sorted((ROOT / "headrace").rglob("*.py"))
_KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LakeError)
}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("room", sorted({each.relative_to(ROOT).parts[1] for each in _FILES}))
def test_public_functions_name_the_errors_they_raise(room: str) -> None:
    unsaid = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {name}"
        for path in _FILES
        if path.relative_to(ROOT).parts[1] == room
        for function in _public(ast.parse(path.read_text()))
        for name in sorted(set(_raised(function)) - _named(function))
    ]
    assert not unsaid


def test_a_function_that_does_not_say_what_it_raises_is_found() -> None:
    said = '"""Do it.\n\n    Raises:\n        StorageError: If not.\n\n    """'
    body = "    if x:\n        raise StorageError(x) from x\n    def inner():\n        raise LeakError\n"
    for text, unsaid in ((said, set[str]()), ('"""Do it."""', {"StorageError"})):
        (function,) = _public(ast.parse(f"def do(x):\n    {text}\n{body}"))
        assert set(_raised(function)) - _named(function) == unsaid


def _public(tree: ast.Module) -> Iterator[_Function]:
    """Yield the functions of a file, and the methods of its classes, that have no underscore."""
    for each in tree.body:
        inner = each.body if isinstance(each, ast.ClassDef) and each.name[0] != "_" else [each]
        for function in inner:
            if isinstance(function, _Function) and function.name[0] != "_":
                yield function


def _raised(function: ast.AST) -> Iterator[str]:
    for each in ast.iter_child_nodes(function):
        if isinstance(each, ast.Raise) and each.exc is not None:
            called = each.exc.func if isinstance(each.exc, ast.Call) else each.exc
            called = called.value if isinstance(called, ast.Attribute) else called
            if isinstance(called, ast.Name) and called.id in _KINDS:
                yield called.id
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _raised(each)


def _named(function: _Function) -> set[str]:
    _, _, raises = (ast.get_docstring(function) or "").partition("Raises:\n")
    listed = (line.partition(":")[0].split(",") for line in raises.splitlines())
    return {name.strip() for names in listed for name in names}
