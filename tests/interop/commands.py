"""`headrace paimon` as tests run it."""

import json
from typing import Any

from typer.testing import CliRunner

from headrace.cli.main import make_app


def run(*words: str, ends: int = 0) -> Any:  # noqa: ANN401  (any JSON)
    done = CliRunner().invoke(make_app(), ["paimon", *words, "--output", "json"])
    assert done.exit_code == ends, done.output
    return json.loads(done.stdout if ends == 0 else done.stderr)
