"""`headrace check`: check every declaration of the lake."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.load import Declarations
    from headrace.definitions.problem import Problem
    from headrace.definitions.stream import Stream
    from headrace.tables.lake import OpenLake


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "check", check, "check", "check --output json")


def check(*, output: OutputOption = Format.TEXT) -> None:
    """Check every declaration of the lake; all problems are shown, each with its file and line.

    Sample sets are compared with the streams, the models of the dbt project and the tables that
    they name, and contracts with the tables that there are. Files of certificates are looked for.
    """
    from headrace.config import Settings
    from headrace.definitions.across import stray_problems
    from headrace.definitions.load import inspect_declarations

    settings = Settings.load()
    found = inspect_declarations(settings)
    across, warned = _across(settings, found)
    every = (*found.found, *across, *_access(settings))
    warnings = (
        *_unread(settings, found),
        *stray_problems(settings.declarations, found, root=settings.root),
        *warned,
    )
    out = output_of(output)
    out.facts(
        {
            "fine": found.count,
            "problems": [asdict(each) for each in every],
            "warnings": [asdict(each) for each in warnings],
        }
    )
    for problem in every:
        out.show(str(problem))
    for warning in warnings:
        out.show(f"warning: {warning}")
    problems = len(every)
    fine = f"{found.count} declaration{'' if found.count == 1 else 's'} fine"
    out.say(f"{problems} problem{'' if problems == 1 else 's'}, {fine}" if problems else fine)
    if problems:
        raise typer.Exit(1)


def _access(settings: "Settings") -> Iterator["Problem"]:
    """Return what is wrong with how the profile reaches Kafka; nothing is connected to."""
    from headrace.definitions.problem import Problem, shown
    from headrace.kafka_access import tls_problems

    file = shown(settings.declarations / "lake.toml", settings.root)
    for text in () if settings.kafka is None else tls_problems(settings.kafka):
        yield Problem(file=file, message=f"profile `{settings.profile}`: {text}")


def _unread(settings: "Settings", found: "Declarations") -> Iterator["Problem"]:
    """Warn of streams with nothing to read, with the patterns of the files that there are."""
    from headrace.definitions.problem import Finding, hint, problem_of, shown
    from headrace.definitions.source_lines import read_document
    from headrace.definitions.sources import FileSource
    from headrace.ingest.sources.near_pattern import patterns_there

    for stream in found.streams.values():
        missing = _missing(stream, settings)
        if missing is None:
            continue
        path, allowed = found.stream_files[stream.name], ()
        if isinstance(stream.source, FileSource):
            allowed = patterns_there(settings.data_dir)
            missing += f"; {hint(stream.source.files, allowed)}" if allowed else ""
        finding = Finding(("source", "files"), missing, allowed)
        yield problem_of(finding, read_document(path), file=shown(path, settings.root))


def _missing(stream: "Stream", settings: "Settings") -> str | None:
    """Say why a stream has nothing to read, as far as that shows without connecting to servers."""
    from headrace.errors import KafkaMissingError, SchemaUnavailableError, SettingsError
    from headrace.ingest.sources.open import open_source

    try:
        return open_source(stream, settings).missing()
    except (KafkaMissingError, SchemaUnavailableError, SettingsError) as error:
        return str(error)


def _across(settings: "Settings", found: "Declarations") -> "tuple[list[Problem], list[Problem]]":
    """Return problems between files, models and tables, and warnings; an absent lake has none."""
    from headrace.definitions.across import problems_across
    from headrace.definitions.dbt_models import models_of
    from headrace.definitions.dbt_project import find_project
    from headrace.definitions.problem import Problem, shown

    project = find_project(settings)
    models = (
        {}
        if project is None or not found.sample_sets
        else models_of(project, state_dir=settings.state_dir)
    )
    if not settings.state_dir.is_dir():  # the tables' code takes most of the command to load
        return [*problems_across(found, models, root=settings.root)], []
    from headrace.errors import LakeError, LakeNotFoundError
    from headrace.samples.checked import contradictions, doubts, known_tables, lost, merged
    from headrace.tables.lake import OpenLake

    known, problems, warnings = models, list[Problem](), list[Problem]()
    try:
        with OpenLake.existing(settings) as lake:
            known = merged(models, known_tables(lake))
            found = _as_evolved(lake, found)
            problems += contradictions(lake, found, settings)
            warnings += lost(lake, found, settings)
            warnings += doubts(lake, found, settings)
    except LakeNotFoundError:
        pass
    except LakeError as error:  # the declarations are no worse for it
        text = f"the tables they read cannot be looked at: {error}"
        return [], [Problem(file=shown(settings.declarations, settings.root), message=text)]
    problems += problems_across(found, known, root=settings.root)
    return problems, warnings


def _as_evolved(lake: "OpenLake", found: "Declarations") -> "Declarations":
    """Return the declarations with the fields that records added to contracts, or widened."""
    from headrace.errors import LakeError
    from headrace.ingest.stream_tables import effective_contract

    streams = dict(found.streams)
    for name, stream in found.streams.items():
        with suppress(LakeError):  # a table that cannot be read is no fault of its contract
            streams[name] = effective_contract(lake, stream)
    return replace(found, streams=streams)
