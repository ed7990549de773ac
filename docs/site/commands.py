"""The reference of the command line, read from the commands themselves."""

from collections.abc import Iterator

import click
import typer.main

from headrace.cli.main import make_app
from headrace.cli.nouns import Command, common_options

_INTRO = """# Commands

`headrace NOUN VERB`. What all commands share (exit statuses, `--output json`, `--apply`) is on
[the page about the command line](../command-line.md)."""


def commands_page() -> str:
    """Return the page of every command, in the order in which `headrace --help` lists nouns."""
    return "\n\n".join((_INTRO, *_group(_app(), ("headrace",)))) + "\n"


def every_command() -> Iterator[str]:
    """Yield each command as it is typed, as `headrace tables list`."""
    yield from (" ".join(words) for words, _ in _commands(_app(), ("headrace",)))


def _app() -> click.Group:
    app = typer.main.get_command(make_app())
    assert isinstance(app, click.Group)
    return app


def _commands(
    group: click.Group, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        found = group.commands[name]
        if isinstance(found, click.Group):
            yield from _commands(found, (*words, name))
        elif not found.hidden:
            yield (*words, name), found


def _group(app: click.Group, words: tuple[str, ...]) -> Iterator[str]:
    noun = ""
    for typed, command in _commands(app, words):
        if typed[1] != noun:
            noun = typed[1]
            yield f"## {noun}"
            found = app.commands[noun]
            if isinstance(found, click.Group):
                yield _plain(found.help)
        if len(typed) > 2:
            yield f"### {' '.join(typed[1:])}"
        yield from _shown(" ".join(typed), command)


def _shown(typed: str, command: click.Command) -> Iterator[str]:
    shared = {option.opts[-1] for option in common_options()}
    options = [
        each
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and each.opts[-1] not in shared
    ]
    arguments = [
        each.make_metavar(click.Context(command))
        for each in command.params
        if each.param_type_name == "argument"
    ]
    words = " ".join((typed, *arguments, *(["[OPTIONS]"] if options else [])))
    yield f"```text\n{words}\n```"
    yield _plain(command.help)
    if options:
        rows = "\n".join(_row(each) for each in options)
        yield f"| option | effect |\n|---|---|\n{rows}"
    if isinstance(command, Command):
        lines = "\n".join(f"headrace {line}" for line in command.examples)
        yield f"```bash\n{lines}\n```"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    if isinstance(option.type, click.Choice):
        names += " " + ", ".join(
            f"`{getattr(each, 'value', each)}`" for each in option.type.choices
        )
    default = option.default
    shown = ""
    if not option.is_flag and isinstance(default, str | int | float) and default != "":
        shown = f" By default `{getattr(default, 'value', default)}`."
    return f"| {names} | {_plain(option.help).replace('|', chr(92) + '|')}{shown} |"


def _plain(text: str | None) -> str:
    """Return the text of a help as Markdown, whose own signs it does not use."""
    return (text or "").replace("\b\n", "").replace("*", "\\*").replace("<", "&lt;").strip()
