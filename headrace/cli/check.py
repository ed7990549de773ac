"""`headrace check`: check every declaration of the lake."""

from typing import TYPE_CHECKING

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.load import Declarations
    from headrace.definitions.stream import Stream


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "check", check, "check", "check --output json")


def check(*, output: OutputOption = Format.TEXT) -> None:
    """Check every declaration of the lake; all problems are shown, each with its file and line."""
    from headrace.config import Settings
    from headrace.definitions.load import inspect_declarations

    settings = Settings.load()
    found = inspect_declarations(settings)
    warnings = [
        f"warning: stream `{stream.name}`: {missing}"
        for stream in found.streams.values()
        if (missing := _missing(stream, settings))
    ]
    warnings += [f"warning: {text}" for text in _lost_models(settings, found)]
    out = output_of(output)
    if output is Format.JSON:
        out.record(
            {
                "fine": found.count,
                "problems": [_place(each) for each in found.problems],
                "warnings": warnings,
            }
        )
    for problem in found.problems:
        out.show(problem)
    for warning in warnings:
        out.show(warning)
    problems = len(found.problems)
    fine = f"{found.count} declaration{'' if found.count == 1 else 's'} fine"
    out.say(f"{problems} problem{'' if problems == 1 else 's'}, {fine}" if problems else fine)
    if problems:
        raise typer.Exit(1)


def _place(problem: str) -> dict[str, object]:
    """Take a problem apart into file, line and message; a file that lacks something has no line."""
    where, _, message = problem.partition("  ")
    file, colon, line = where.rpartition(":")
    if not (colon and line.isdecimal()):
        return {"file": where, "line": None, "message": message}
    return {"file": file, "line": int(line), "message": message}


def _missing(stream: "Stream", settings: "Settings") -> str | None:
    """Say why a stream has nothing to read, as far as that shows without connecting to servers."""
    from headrace.errors import KafkaMissingError, SchemaUnavailableError, SettingsError
    from headrace.ingest.sources.open import open_source

    try:
        return open_source(stream, settings).missing()
    except (KafkaMissingError, SchemaUnavailableError, SettingsError) as error:
        return str(error)


def _lost_models(settings: "Settings", found: "Declarations") -> list[str]:
    """Warn of tables in sample sets that no model builds any more; an absent lake has none."""
    if not found.sample_sets or not settings.state_dir.is_dir():
        return []  # before the tables' code is loaded, which takes most of the command
    from headrace.errors import LakeError, LakeNotFoundError
    from headrace.samples.lost_models import lost_models_of
    from headrace.tables.lake import OpenLake

    try:
        with OpenLake.existing(settings) as lake:
            said = [n for each in found.sample_sets.values() for n in lost_models_of(lake, each)]
    except LakeNotFoundError:
        return []
    except LakeError as error:  # the declarations are no worse for it
        return [f"the tables they read cannot be looked at: {error}"]
    return list(dict.fromkeys(said))
