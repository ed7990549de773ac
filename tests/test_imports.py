"""What importing costs, and which way imports run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import headrace as hr
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

HEAVY = {
    "torch",
    "duckdb",
    "trino",
    "dagster",
    "streamlit",
    "pyiceberg",
    "pyarrow",
    "numpy",
    "sqlalchemy",
    "botocore",
    "dbt",
    "typer",
    "rich",
}
ROOMS = ("headrace", "orchestration", "ui", "demo")
LIST_MODULES = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\n{LIST_MODULES}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_headrace_loads_nothing_heavy() -> None:
    assert not modules_after("import headrace") & HEAVY


def test_a_lake_needs_no_framework_and_no_torch() -> None:
    loaded = modules_after("import headrace; headrace.Lake")
    assert not loaded & {"torch", "duckdb", "botocore", "dagster", "streamlit", "dbt", "typer"}


def test_the_command_line_starts_without_the_rooms_behind_it() -> None:
    loaded = modules_after("from headrace.cli.main import make_app; make_app()")
    assert not loaded & (HEAVY - {"typer", "rich"})


def test_checking_declarations_loads_no_tables_where_there_are_none(tmp_path: Path) -> None:
    declared = f"import os; os.environ['HEADRACE_STATE_DIR'] = {str(tmp_path / 'none')!r}"
    check = "from headrace.cli.main import make_app; make_app()(['check'], standalone_mode=False)"
    loaded = modules_after(f"{declared}\n{check}")
    assert not loaded & (HEAVY - {"typer", "rich", "pyarrow", "numpy"})


def test_imports_run_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_only_the_public_names_are_imported_by_string() -> None:
    # the linter cannot see such an import, so it could run upwards unnoticed
    by_string = ("import_module", "__import__")
    sources = {path: path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    found = {path for path, text in sources.items() if any(name in text for name in by_string)}
    assert found == {ROOT / "headrace" / "__init__.py"}


def test_every_public_name_is_there() -> None:
    for name in hr.__all__:
        assert getattr(hr, name) is not None
    assert set(hr.__all__) <= set(dir(hr))


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(AttributeError, match="SampleLoader"):
        hr.Loader  # noqa: B018 - the access is what is tested


def test_without_torch_the_loader_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import headrace\n"
        "headrace.Lake\n"
        "try: headrace.SampleLoader\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "pip install 'headrace[train]'" in done.stdout
