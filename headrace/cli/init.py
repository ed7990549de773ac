"""`headrace init`: the files of a new lake."""

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import Remedy


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "init", init, "init shop", "init . --output json")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """Write the files of a lake: settings, a stream, a sample set, a dbt project, definitions.py.

    Files that are there stay. In a lake it renews headrace's dbt macros, as after an upgrade.
    """
    from headrace.scaffold.lake import apply_lake, plan_lake

    plan = plan_lake(folder.absolute())
    apply_lake(plan)
    out = output_of(output)
    rows = [{"file": str(Path(folder, each.path)), "step": each.step} for each in plan.files]
    if output is Format.JSON:
        out.table(rows, columns=("file", "step"))
        return
    kept = [row for row in rows if row["step"] == "kept"]
    out.say(f"{len(plan.changed):,} files written to {folder}, {len(kept):,} kept")
    for row in kept if plan.changed else ():
        out.say(f"kept: {row['file']}")
    out.say("next, in that folder", remedy=Remedy.run("ingest", "run", advice="see README.md, and"))
