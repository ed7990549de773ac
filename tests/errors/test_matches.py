"""Tests assert the type, the reason and the facts of an error; its wording is in `tests/golden`."""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

# they have no attributes to look at, or belong to other libraries
_WITHOUT_FACTS = {
    "AttributeError",
    "ContenderFailedError",
    "Exception",
    "KeyError",
    "LauncherError",
    "OSError",
    "OperationalError",
    "ProgrammingError",
    "RuntimeWarning",
    "SystemExit",
    "ValidationError",
    "ValueError",
}


def test_errors_of_the_lake_are_not_told_apart_by_their_wording() -> None:
    found = [
        (str(path.relative_to(ROOT)), line, kind)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if "match" in (text := path.read_text())  # to parse all of them takes seconds
        for line, kind in _matches(ast.parse(text))
    ]
    assert not [each for each in found if each[2] not in _WITHOUT_FACTS]


def test_a_match_on_wording_is_found() -> None:
    for text, kinds in (
        ("with pytest.raises(ContractError, match='x'): pass", ["ContractError"]),
        ("pytest.raises((errors.LeakError, KeyError), match='x')", ["LeakError", "KeyError"]),
        ("pytest.raises(ContractError)", []),
    ):
        assert [kind for _, kind in _matches(ast.parse(text))] == kinds


def _matches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Call) and any(word.arg == "match" for word in each.keywords):
            kinds = each.args[0].elts if isinstance(each.args[0], ast.Tuple) else each.args[:1]
            for kind in kinds:
                yield each.lineno, ast.unparse(kind).rpartition(".")[2]
