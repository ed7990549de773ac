"""What only storage may do: fsync, and touching the files of a table for clean-up."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

_LIBRARY = ROOT / "headrace"
_DISK = {"os", "os.path", "shutil", "stat", "pathlib", "tempfile", "glob"}
_SYNCS = {"fsync", "fdatasync"}
_PURE = {"PurePosixPath"}  # takes paths apart, and touches no disk


def test_fsync_is_called_in_one_file() -> None:
    calling = {
        str(path.relative_to(_LIBRARY))
        for path in _LIBRARY.rglob("*.py")
        for text in [path.read_text()]
        if any(name in text for name in _SYNCS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in _SYNCS
    }
    assert calling == {"storage/durable.py"}


def test_clean_up_reaches_files_through_folders_only() -> None:
    for path in sorted((_LIBRARY / "maintenance/cleanup").glob("*.py")):
        found = set(_imported(path)) & _DISK
        assert not found, f"{path.name} uses {found}: go through `storage.folders.Folders`"


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and {e.name for e in node.names} - _PURE:
            yield node.module or ""
