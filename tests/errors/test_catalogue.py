"""What every error says: one page to read, and that programs can rely on its parts."""

import inspect
import json

import click
import pytest
import typer.main

from headrace import errors
from headrace.cli.main import make_app
from headrace.errors import DatabaseFullError, LakeError, Remedy, SnapshotNotFoundError, code_of
from tests.errors.examples import EXAMPLES
from tests.golden.golden import Golden

_KINDS = {
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, LakeError) and each is not DatabaseFullError  # its text has free space
}


def test_what_errors_say_is_what_was_read_and_agreed(golden: Golden) -> None:
    golden.check("errors.txt", "\n".join(map(_page, EXAMPLES)))


def _page(error: LakeError) -> str:
    lines = [error.code, f"  {error.message}"]
    if error.remedy is not None:
        lines += [f"  > {part}" for part in str(error.remedy).split("; ")]
    return "\n".join(lines) + "\n"


def test_every_error_has_an_example() -> None:
    assert {type(each) for each in EXAMPLES} == _KINDS


def test_codes_are_unique() -> None:
    assert len({code_of(kind) for kind in _KINDS}) == len(_KINDS)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
def test_an_error_is_written_as_json(error: LakeError) -> None:
    said = error.to_dict()
    assert json.loads(json.dumps(said)) == said
    assert list(said) == ["code", "message", "facts", "remedy"]
    constructor = inspect.signature(type(error).__init__).parameters
    given = set(constructor) - {"self", "remedy", "what", "state", "rule", "named"}
    assert given <= set(said["facts"])


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
def test_commands_that_errors_advise_exist_and_take_a_catalog_if_they_say_so(
    error: LakeError,
) -> None:
    if error.remedy is None:
        return
    for each in (error.remedy, *error.remedy.otherwise):
        if each.command:
            assert _takes_catalog(each) == each.takes_catalog


def _takes_catalog(remedy: Remedy) -> bool:
    found: click.Command = typer.main.get_command(make_app())
    rest = list(remedy.command)
    while isinstance(found, click.Group):
        found = found.commands[rest.pop(0)]
    return any("--catalog" in each.opts for each in found.params)


def test_a_command_goes_to_the_catalog_that_is_worked_on() -> None:
    error = SnapshotNotFoundError("a.b", "snapshot 42")
    line = "headrace tables show a.b --catalog theirs"
    assert f"`{line}`" in error.text(catalog="theirs")
    assert error.to_dict(catalog="theirs")["remedy"]["command"] == line.split()
    assert "--catalog" not in str(error)


def test_commands_that_take_no_catalog_get_none() -> None:
    remedy = Remedy.run("ingest", "run", advice="or")
    assert remedy.on("theirs") == remedy


def test_passwords_are_in_no_message_and_in_no_fact() -> None:
    error = errors.CatalogUnavailableError("c", "(at postgresql://me:word@db:5432/lake) refused")
    assert "word" not in str(error)
    assert error.facts["detail"] == "(at postgresql://me:***@db:5432/lake) refused"


def test_ids_of_snapshots_are_text_in_json() -> None:
    error = errors.CommitOutcomeUnknownError("a.b", 8_000_000_000_000_000_001)
    assert error.facts["snapshot_id"] == "8000000000000000001"
    assert error.snapshot_id == 8_000_000_000_000_000_001
