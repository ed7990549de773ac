"""What every error says: one page to read, and that programs can rely on its parts."""

import inspect
import json
import re
from collections.abc import Iterator

import click
import pytest
import typer.main

from headrace import errors
from headrace.cli.main import make_app
from headrace.errors import (
    DatabaseFullError,
    LakeError,
    Reason,
    Remedy,
    SnapshotNotFoundError,
    code_of,
)
from tests.conftest import ROOT
from tests.errors.examples import EXAMPLES
from tests.golden.golden import Golden

_KINDS = {
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, LakeError) and each is not DatabaseFullError  # its text has free space
}


def test_what_errors_say_is_what_was_read_and_agreed(golden: Golden) -> None:
    golden.check("errors.txt", "\n".join(map(_page, EXAMPLES)))


def test_the_reasons_of_errors_are_those_that_programs_know(golden: Golden) -> None:
    golden.check("reasons.txt", "\n".join(map(_reasons, _families())))


def _reasons(family: type[Reason]) -> str:
    codes = ", ".join(sorted(code_of(kind) for kind in _KINDS if _family_of(kind) is family))
    return "".join((f"{codes}\n", *(f"  {each}\n" for each in family)))


def _families() -> Iterator[type[Reason]]:
    for _, each in inspect.getmembers(errors, inspect.isclass):
        if issubclass(each, Reason) and each is not Reason:
            yield each


def _family_of(kind: type[LakeError]) -> type[Reason] | None:
    reason = inspect.signature(kind.__init__).parameters.get("reason")
    return None if reason is None else reason.annotation


def test_every_reason_is_given_somewhere_and_spelled_like_its_member() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "headrace").rglob("*.py"))
    given = set(re.findall(r"\b(\w+Reason\.[A-Z_]+)\b", text))
    assert given == {f"{family.__name__}.{each.name}" for family in _families() for each in family}
    for family in _families():
        assert [str(each) for each in family] == [
            each.name.lower().replace("_", "-") for each in family
        ]


def _page(error: LakeError) -> str:
    code = error.code if error.reason is None else f"{error.code}: {error.reason}"
    lines = [code, f"  {error.message}"]
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
    assert list(said) == ["code", "reason", "message", "facts", "remedy"]
    constructor = inspect.signature(type(error).__init__).parameters
    assert said["reason"] == error.reason
    given = set(constructor) - {"self", "reason", "remedy", "what", "state", "rule", "named"}
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


def test_what_stops_a_stream_advises_commands_that_name_it() -> None:
    gap = errors.OffsetGapError("t", partition=1, first=2, end=5)
    replaced = errors.TopicReplacedError("t", expected="a", found="b")
    for error in (gap, replaced):
        for _ in range(2):  # by whoever hands it on
            error.of_stream("clicks")
    told = [error.remedy.lines for error in (gap, replaced) if error.remedy is not None]
    assert told == [
        ("headrace ingest run clicks --accept-gap 1:2-5",),
        (
            "headrace ingest reset clicks",
            "headrace flink handover clicks --to headrace --without-note",
        ),
    ]
