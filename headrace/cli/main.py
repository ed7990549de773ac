"""The entry point: one app of all nouns, and the one place where errors become exit codes."""

import sys
import traceback
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from headrace.cli import (
    check,
    datasets,
    dead_letters,
    features,
    ingest,
    init,
    lake,
    maintain,
    online,
    paimon,
    samples,
    serve,
    shells,
    simulate,
    skew,
    streams,
    tables,
)
from headrace.cli.failures import exit_status, say_error
from headrace.collector import one_command
from headrace.errors import LakeError

NOUNS = (
    init,
    check,
    streams,
    ingest,
    dead_letters,
    simulate,
    tables,
    maintain,
    features,
    samples,
    datasets,
    online,
    paimon,
    serve,
    skew,
    lake,
    shells,
)


class _Edge(TyperGroup):
    """Shows a `LakeError` as one message on stderr; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (click's signature)
        try:
            return super().invoke(ctx)
        except LakeError as error:
            if ctx.params.get("verbose"):
                traceback.print_exception(error, file=sys.stderr)
            else:
                say_error(error)
            raise typer.Exit(exit_status(error)) from error


def make_app() -> typer.Typer:
    """Build the app from the nouns."""
    app = typer.Typer(
        cls=_Edge,
        help="A streaming lakehouse that feeds recommender training.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root(  # pyright: ignore[reportUnusedFunction]  (typer keeps it)
        *,
        verbose: Annotated[
            bool, typer.Option("--verbose", help="Show the traceback of an error.")
        ] = False,
    ) -> None:
        """Run inside a lakehouse folder, or set HEADRACE_LAKE to its `lake/lake.toml`."""

    for noun in NOUNS:
        noun.register(app)
    return app


def run() -> None:
    """Run the command line: 0 done, 1 failed, 2 wrong usage, 65 records refused, 75 try again."""
    with one_command():
        make_app()()
