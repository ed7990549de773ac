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
    """Check every declaration of the lake; all problems are shown, each with its file and line.

    Sample sets are compared with the streams, the models of the dbt project and the tables that
    they name, and contracts with the tables that there are.
    """
    from headrace.config import Settings
    from headrace.definitions.load import inspect_declarations

    settings = Settings.load()
    found = inspect_declarations(settings)
    across, warned = _across(settings, found)
    every = (*found.problems, *across)
    warnings = [
        f"warning: stream `{stream.name}`: {missing}"
        for stream in found.streams.values()
        if (missing := _missing(stream, settings))
    ]
    warnings += [f"warning: {text}" for text in (*_stray(settings), *warned)]
    out = output_of(output)
    if output is Format.JSON:
        out.record(
            {
                "fine": found.count,
                "problems": [_place(each) for each in every],
                "warnings": warnings,
            }
        )
    for problem in every:
        out.show(problem)
    for warning in warnings:
        out.show(warning)
    problems = len(every)
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


def _stray(settings: "Settings") -> list[str]:
    """Warn of files among the declarations that nothing reads."""
    from headrace.definitions.across import stray_files

    root = settings.root
    return [
        f"`{path.relative_to(root) if path.is_relative_to(root) else path}` is in none of "
        "`streams`, `samples` and `windows`, so that nothing reads it"
        for path in stray_files(settings.declarations)
    ]


def _across(settings: "Settings", found: "Declarations") -> tuple[list[str], list[str]]:
    """Return problems between files, models and tables, and warnings; an absent lake has none."""
    from headrace.definitions.across import problems_across
    from headrace.definitions.dbt_models import models_of
    from headrace.definitions.dbt_project import find_project

    project = find_project(settings)
    models = {} if project is None or not found.sample_sets else models_of(project)
    if not settings.state_dir.is_dir():  # the tables' code takes most of the command to load
        return [*problems_across(found, models, root=settings.root)], []
    from headrace.errors import LakeError, LakeNotFoundError
    from headrace.samples.checked import contradictions, known_tables, merged
    from headrace.samples.lost_models import lost_models_of
    from headrace.tables.lake import OpenLake

    known, problems, warnings = models, list[str](), list[str]()
    try:
        with OpenLake.existing(settings) as lake:
            known = merged(models, known_tables(lake))
            problems += contradictions(lake, found, settings)
            for each in found.sample_sets.values():
                warnings += lost_models_of(lake, each)
    except LakeNotFoundError:
        pass
    except LakeError as error:  # the declarations are no worse for it
        return [], [f"the tables they read cannot be looked at: {error}"]
    problems += problems_across(found, known, root=settings.root)
    return problems, list(dict.fromkeys(warnings))
