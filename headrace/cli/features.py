"""`headrace features`: build the staging and feature tables of the dbt project."""

from typing import Annotated

import typer

from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of
from headrace.extras import needing


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "features", help="Build the feature tables.")
    add(
        noun,
        "build",
        build,
        "features build",
        "features build --select item_ctr+",
        "features build --full-refresh --output json",
    )


def build(
    *,
    select: Annotated[
        str, typer.Option("--select", help="Nodes, as dbt selects them; all if not given.")
    ] = "",
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Compute every day again.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Build the models of the dbt project and run their tests; what has not changed stays."""
    from headrace.config import Settings

    with needing("dbt"):
        from headrace.integrations.dbt_build import build_features
    done = build_features(Settings.load(), select=select or None, full_refresh=full_refresh)
    out = output_of(output)
    rows = [
        {"table": model.table, "outcome": model.code, "rows": model.rows, "message": model.message}
        for model in done.models
    ]
    out.table(rows, columns=("table", "outcome", "rows"))
    out.say(f"{len(rows):,} models, {done.tests_passed:,} tests passed")
