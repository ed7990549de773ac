"""The entry point: one app of all nouns, and the one place where errors become exit codes."""

import functools
import importlib.metadata
import os
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
    flink,
    ingest,
    init,
    lake,
    lineage,
    maintain,
    online,
    paimon,
    samples,
    serve,
    shells,
    simulate,
    skew,
    status,
    streams,
    tables,
)
from headrace.cli.failures import (
    EXIT_PIPE_CLOSED,
    EXIT_USAGE,
    asks_for_json,
    exit_status,
    say_error,
    say_usage,
)
from headrace.cli.nouns import common_options, is_verbose, write_examples
from headrace.collector import one_command
from headrace.errors import LakeError

NOUNS = (
    status,
    lineage,
    init,
    check,
    streams,
    ingest,
    dead_letters,
    flink,
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


_WORDS = f"{__name__}.words"  # a key of click's `Context.meta`: the command line
_ORDER = (
    "init",
    "status",
    "check",
    "simulate",
    "streams",
    "ingest",
    "dead-letters",
    "features",
    "samples",
    "datasets",
    "online",
    "serve",
    "skew",
    "tables",
    "lineage",
    "maintain",
    "paimon",
    "lake",
    "ui",
    "dagster",
)
_FIRST = (
    "status",
    "ingest run",
    "tables list",
    "samples inspect bts/all/4211",
    "datasets publish ctr",
)


class _Edge(TyperGroup):
    """Shows a `LakeError` as one message on stderr; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (click's signature)
        try:
            return super().invoke(ctx)
        except LakeError as error:
            if is_verbose():
                traceback.print_exception(error, file=sys.stderr)
            else:
                say_error(error)
            raise typer.Exit(exit_status(error)) from error
        except click.UsageError as error:
            if not asks_for_json(ctx.meta[_WORDS]):
                raise
            say_usage(error)
            raise typer.Exit(EXIT_USAGE) from error
        except BrokenPipeError as error:  # as of `headrace tables list | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_PIPE_CLOSED) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Order what is listed as a lake comes to be, not by who registered first."""
        found = super().list_commands(ctx)
        return sorted(found, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _ = ctx
        write_examples(formatter, _FIRST)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*common_options(), *super().get_params(ctx)]


def _say_version(value: bool) -> None:
    if value:
        typer.echo(f"headrace {importlib.metadata.version('headrace')}")
        raise typer.Exit


@functools.cache
def make_app() -> typer.Typer:
    """Build the app from the nouns, once."""
    app = typer.Typer(
        cls=_Edge,
        help="A streaming lakehouse that feeds recommender training.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        suggest_commands=False,  # click says what was meant already
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(  # pyright: ignore[reportUnusedFunction]  (typer keeps it)
        *,
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="Show the version.", is_eager=True, callback=_say_version
            ),
        ] = False,
    ) -> None:
        """Run inside a lakehouse folder, or set HEADRACE_LAKE to its `lake/lake.toml`."""

    for noun in NOUNS:
        noun.register(app)
    return app


def run() -> None:
    """Run the command line; it ends with a status of `failures.EXITS`."""
    with one_command():
        make_app()()
