"""What `make test-fast` loads: no framework, whatever a collected test file imports from another."""

import re
from pathlib import Path

from tests.conftest import ROOT, is_in_slow_room

# frameworks, and what imports one; the section of `lake.toml` is text alone
HEAVY = re.compile(
    r"(torch|dagster|dbt|streamlit|pypaimon|headrace\.loading|headrace\.integrations|orchestration(?!\.lib\.section)|ui)\b"
)


def test_what_a_fast_run_collects_imports_no_framework() -> None:
    tests = (ROOT / "tests").rglob("test_*.py")
    open_, seen = [path for path in tests if not is_in_slow_room(path)], set[Path]()
    found: set[tuple[str, str]] = set()
    while open_:
        path = open_.pop()
        seen.add(path)
        for module in re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE):
            if HEAVY.match(module):
                found.add((str(path.relative_to(ROOT)), module))
            beside = ROOT / f"{module.replace('.', '/')}.py"
            if module.startswith("tests.") and beside.is_file() and beside not in seen:
                open_.append(beside)
    assert not found
