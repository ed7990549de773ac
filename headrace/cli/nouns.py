"""How every command is declared: nouns, examples in each help, and options that all commands have."""

from collections.abc import Callable, Sequence
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup

_VERBOSE, _QUIET = f"{__name__}.verbose", f"{__name__}.quiet"  # keys of click's `Context.meta`
_NOUN_EXAMPLES_MAX = 5


class Command(TyperCommand):
    """A command with the options that all have, and examples in its help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, the common ones and `--help`."""
        own = super().get_params(ctx)
        at = len(own) - (self.get_help_option(ctx) in own)
        return [*own[:at], *common_options(), *own[at:]]

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence, whole: lists of commands wrap it."""
        _ = limit
        return first_sentence(self.help)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _ = ctx
        write_examples(formatter, self.examples)

    @property
    def examples(self) -> tuple[str, ...]:
        """The command lines that its help shows, without the word `headrace`."""
        return tuple((self.epilog or "").splitlines())


class Noun(TyperGroup):
    """A noun: its help shows the first example of each verb."""

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence, whole."""
        _ = limit
        return first_sentence(self.help)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        _ = ctx
        verbs = [each for each in self.commands.values() if isinstance(each, Command)]
        write_examples(formatter, [each.examples[0] for each in verbs[:_NOUN_EXAMPLES_MAX]])


def write_examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    """Write the end of a help: command lines, each on a line of its own, however long."""
    with formatter.section("Examples"):
        for line in lines:
            formatter.write(f"{'':>{formatter.current_indent}}headrace {line}\n")


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring, on one line."""
    words = " ".join((text or "").partition("\n\n")[0].split())
    sentence, stop, _ = words.partition(". ")
    return f"{sentence}." if stop else sentence


def common_options() -> list[click.Parameter]:
    """Return the options that may stand before the noun or after the verb."""
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_keep(_QUIET),
            help="Show results and errors only: no summaries, advice or progress.",
        ),
        click.Option(
            ["--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_keep(_VERBOSE),
            help="Show the traceback of an error.",
        ),
    ]


def _keep(key: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    def keep(context: click.Context, _: click.Parameter, value: bool) -> bool:
        context.meta[key] = value or context.meta.get(key, False)
        return value

    return keep


def is_quiet() -> bool:
    """Whether the command that runs was asked to show results and errors only."""
    return _asked(_QUIET)


def is_verbose() -> bool:
    """Whether the command that runs was asked for tracebacks."""
    return _asked(_VERBOSE)


def _asked(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return False if context is None else context.meta.get(key, False)


def add_noun(app: typer.Typer, name: str, *, help: str) -> typer.Typer:
    """Add a noun, and return it for its verbs."""
    noun = typer.Typer(cls=Noun, no_args_is_help=True, rich_markup_mode=None)
    noun.callback()(_nothing)  # so that a noun of one verb stays a noun
    app.add_typer(noun, name=name, help=help)
    return noun


def _nothing() -> None:
    pass


def add(noun: typer.Typer, name: str, command: Callable[..., Any], *examples: str) -> None:
    """Add a verb to a noun, or a command to the app, with lines that its help shows as examples."""
    noun.command(name, cls=Command, epilog="\n".join(examples))(command)
