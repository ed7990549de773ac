"""`headrace check`: is everything the lake declares understood?"""

import typer

from headrace.cli.output import Format, OutputOption, output_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(*, output: OutputOption = Format.TEXT) -> None:
    """Check every declaration of the lake; all problems are shown, each with its file and line."""
    from headrace.config import Settings
    from headrace.definitions.load import inspect_declarations
    from headrace.ingest.files import FileSource

    settings = Settings.load()
    found = inspect_declarations(settings)
    warnings = [
        f"warning: stream `{stream.name}`: {missing}"
        for stream in found.streams.values()
        if (missing := FileSource(stream, data_dir=settings.data_dir).missing())
    ]
    out = output_of(output)
    if output is Format.JSON:
        out.record({"fine": found.count, "problems": list(found.problems), "warnings": warnings})
    for problem in found.problems:
        out.say(problem)
    for warning in warnings:
        out.say(warning)
    problems = len(found.problems)
    fine = f"{found.count} declaration{'' if found.count == 1 else 's'} fine"
    out.say(f"{problems} problem{'' if problems == 1 else 's'}, {fine}" if problems else fine)
    if problems:
        raise typer.Exit(1)
