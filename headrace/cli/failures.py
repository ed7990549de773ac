"""How commands end when something failed: what stderr says, and which exit status."""

import typer

from headrace.cli.output import on_catalog
from headrace.errors import LakeError, RecordsRefusedError

EXIT_FAILED = 1
EXIT_REFUSED = 65  # EX_DATAERR: too many records of a run were refused; they are kept
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may simply run the same command again


def say_error(error: LakeError, *, catalog: str | None = None) -> None:
    """Show an error as one message on stderr; commands that it names go to `catalog`."""
    typer.echo(on_catalog(f"{error.code}: {error}", catalog), err=True)


def exit_status(*errors: LakeError) -> int:
    """Return the status for one error or more: the most serious one decides.

    Trying again helps only if it helps all of them.
    """
    lasting = [error for error in errors if not error.retryable]
    if not lasting:
        return EXIT_TRY_AGAIN
    refused = all(isinstance(error, RecordsRefusedError) for error in lasting)
    return EXIT_REFUSED if refused else EXIT_FAILED
