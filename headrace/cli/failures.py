"""How commands end when something failed: what stderr says, and which exit status."""

import json

import typer

from headrace.cli.output import Asked, Format
from headrace.errors import LakeError, RecordsRefusedError

EXIT_FAILED = 1
EXIT_REFUSED = 65  # EX_DATAERR: too many records of a run were refused; they are kept
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may simply run the same command again


def say_error(error: LakeError) -> None:
    """Show an error on stderr: as one message, or as one line of JSON with `--output json`.

    Commands that it advises go to the catalog of the command that failed.
    """
    asked = Asked.now()
    if asked.format is Format.JSON:
        typer.echo(json.dumps(error.to_dict(catalog=asked.catalog)), err=True)
    else:
        typer.echo(f"{error.code}: {error.text(catalog=asked.catalog)}", err=True)


def exit_status(*errors: LakeError) -> int:
    """Return the status for one error or more: the most serious one decides.

    Trying again helps only if it helps all of them.
    """
    lasting = [error for error in errors if not error.retryable]
    if not lasting:
        return EXIT_TRY_AGAIN
    refused = all(isinstance(error, RecordsRefusedError) for error in lasting)
    return EXIT_REFUSED if refused else EXIT_FAILED
