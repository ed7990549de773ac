"""How commands end when something failed: what stderr says, and which exit status."""

import typer

from headrace.cli.output import on_catalog
from headrace.errors import LakeError

EXIT_FAILED = 1
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a scheduler may simply run the same command again


def say_error(error: LakeError, *, catalog: str | None = None) -> None:
    """Show an error as one message on stderr; commands that it names go to `catalog`."""
    typer.echo(on_catalog(f"{error.code}: {error}", catalog), err=True)


def exit_status(*errors: LakeError) -> int:
    """Return the status for one error or more: trying again helps only if it helps all of them."""
    return EXIT_TRY_AGAIN if all(error.retryable for error in errors) else EXIT_FAILED
