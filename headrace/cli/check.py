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

    found = inspect_declarations(Settings.load())
    out = output_of(output)
    if output is Format.JSON:
        out.record({"fine": found.count, "problems": list(found.problems)})
    for problem in found.problems:
        out.say(problem)
    problems = len(found.problems)
    fine = f"{found.count} declaration{'' if found.count == 1 else 's'} fine"
    out.say(f"{problems} problem{'' if problems == 1 else 's'}, {fine}" if problems else fine)
    if problems:
        raise typer.Exit(1)
