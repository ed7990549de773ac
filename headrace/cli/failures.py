"""How commands end when something failed: what stderr says, and which exit status."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import click
import typer

from headrace.cli.output import Asked, Format
from headrace.errors import LakeError, RecordsRefusedError

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 65  # EX_DATAERR: too many records of a run were refused; they are kept
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may simply run the same command again
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


@dataclass(frozen=True, kw_only=True)
class Exit:
    """A status that commands end with, and what it means."""

    status: int
    meaning: str


EXITS = (
    Exit(status=EXIT_DONE, meaning="done, or nothing to do"),
    Exit(status=EXIT_FAILED, meaning="failed, or a check found something"),
    Exit(status=EXIT_USAGE, meaning="the words of the command are wrong; nothing was begun"),
    Exit(
        status=EXIT_REFUSED,
        meaning="too many records of a run were refused; they are kept as dead letters",
    ),
    Exit(status=EXIT_TRY_AGAIN, meaning="failed for now: run the same command again"),
    Exit(status=EXIT_INTERRUPTED, meaning="interrupted; the next run goes on"),
    Exit(
        status=EXIT_PIPE_CLOSED,
        meaning="the reader of the output closed its end, as `head` does",
    ),
)


def say_error(error: LakeError) -> None:
    """Show an error on stderr: as one message, or as one line of JSON with `--output json`.

    Commands that it advises go to the catalog of the command that failed.
    """
    asked = Asked.now()
    if asked.format is Format.JSON:
        typer.echo(json.dumps(error.to_dict(catalog=asked.catalog)), err=True)
    else:
        typer.echo(f"{error.code}: {error.text(catalog=asked.catalog)}", err=True)


def say_usage(error: click.UsageError) -> None:
    """Show wrong usage on stderr as one line of JSON, with the keys of other errors."""
    path = "" if error.ctx is None else error.ctx.command_path
    words = ("headrace", *path.split()[1:])
    facts = {"command": " ".join(words)}
    remedy = {"advice": "see how it is used", "command": [*words, "--help"]}
    said = {
        "code": "usage",
        "reason": None,
        "message": error.format_message(),
        "facts": facts,
        "remedy": {**remedy, "otherwise": []},
    }
    typer.echo(json.dumps(said), err=True)


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, also one that cannot be parsed."""
    return "--output=json" in words or ("--output", "json") in pairwise(words)


def exit_status(*errors: LakeError) -> int:
    """Return the status for one error or more: the most serious one decides.

    Trying again helps only if it helps all of them.
    """
    lasting = [error for error in errors if not error.retryable]
    if not lasting:
        return EXIT_TRY_AGAIN
    refused = all(isinstance(error, RecordsRefusedError) for error in lasting)
    return EXIT_REFUSED if refused else EXIT_FAILED
