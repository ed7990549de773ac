"""A package that is not installed is named with the extra that brings it."""

import subprocess
import sys

import pytest

from headrace.errors import ExtraMissingError
from headrace.extras import need, needing
from tests.raising import refused

ABSENT = "headrace_has_no_such_module"


def test_a_failing_import_names_the_extra() -> None:
    with refused(ExtraMissingError, package=ABSENT, extra="redis"), needing("redis"):
        __import__(ABSENT)


@pytest.mark.parametrize("module", [ABSENT, f"{ABSENT}.part", "json.part"])
def test_a_module_that_is_not_there_is_named_without_importing_others(module: str) -> None:
    with refused(ExtraMissingError, extra="dbt"):
        need("dbt", "json", module)


def test_what_is_there_is_not_imported() -> None:
    look = "import sys; from headrace.extras import need; need('ui', 'xmlrpc'); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert "xmlrpc" not in found.stdout.split()
