"""The keys that headrace writes into tables."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.definitions import properties
from tests.conftest import ROOT

HOME = ROOT / "headrace" / "definitions" / "properties.py"
MODULE_NAMES = ROOT / "headrace" / "__init__.py"  # the homes of its public names
# neither a name of a format is a key, nor what is told to a FileIO, which is kept in no table
FORMATS = {
    "headrace.content.1",
    "headrace.logicalType",
    "headrace.s3.attempts-max",
    "headrace.storage.s3_io.S3FileIO",
}


def spelled(path: Path) -> Iterator[str]:
    """Find the literals of a module that look like a key of headrace."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if text.startswith("headrace.") and text not in FORMATS:
                yield text


@pytest.mark.slow
def test_no_other_module_spells_a_key() -> None:
    rooms = ("headrace", "orchestration", "ui", "demo")
    paths = {path for room in rooms for path in (ROOT / room).rglob("*.py")}
    found = {path: list(spelled(path)) for path in paths - {HOME, MODULE_NAMES}}
    assert {path: keys for path, keys in found.items() if keys} == {}


def test_every_key_has_one_name() -> None:
    keys = [value for name, value in vars(properties).items() if name.isupper()]
    assert sorted(keys) == sorted(set(spelled(HOME)))
