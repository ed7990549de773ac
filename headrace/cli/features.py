"""`headrace features`: build the feature tables, and see which feature views there are."""

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import NotDeclaredError, Remedy
from headrace.extras import needing

if TYPE_CHECKING:
    from headrace.samples.feature_views import ListedView


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "features", help="Build the feature tables, and see what they hold.")
    add(
        noun,
        "build",
        build,
        "features build",
        "features build --select item_ctr+",
        "features build --full-refresh --output json",
    )
    add(noun, "list", list_views, "features list", "features list --output json")
    add(
        noun,
        "show",
        show,
        "features show features.item_ctr",
        "features show features.item_ctr --output json",
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


def list_views(*, output: OutputOption = Format.TEXT) -> None:
    """Show every feature view: of streams, window views and dbt models, built or not."""
    rows = [
        {
            "view": each.view,
            "made_by": each.made_by,
            "entity": list(each.entity),
            "values": len(each.values),
            "rows": each.rows,
            "built_at": each.built_at,
            "used_by": list(each.used_by),
        }
        for each in _views()
    ]
    columns = ("view", "made_by", "entity", "values", "rows", "built_at", "used_by")
    out = output_of(output)
    out.table(rows, columns=columns, spare=("built_at", "made_by"))
    if not rows:
        advice = "declare `feature_view` in the contract of a stream, or write a model"
        out.say("there is no feature view yet", remedy=Remedy(advice=advice))


def show(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="A feature view.")],
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show one feature view: its entity, how long its rows are used, and the type of each value."""
    found, out = _view_named(view), output_of(output)
    facts = {
        "view": found.view,
        "made_by": found.made_by,
        "entity": list(found.entity),
        "ttl_s": None if found.ttl is None else found.ttl.total_seconds(),
        "delay_s": found.delay.total_seconds(),
        "rows": found.rows,
        "built_at": found.built_at,
        "used_by": list(found.used_by),
    }
    if output is Format.JSON:
        out.record(facts | {"values": dict(found.values)})
        return
    out.record(facts)
    rows = [{"value": name, "type": kind or None} for name, kind in found.values.items()]
    out.table(rows, columns=("value", "type"))


def _view_named(view: str) -> "ListedView":
    known, kind = {each.view: each for each in _views()}, "feature view"
    if view not in known:
        raise NotDeclaredError(kind, view, known=tuple(known))
    return known[view]


def _views() -> "tuple[ListedView, ...]":
    from headrace.config import Settings
    from headrace.definitions.dbt_models import models_of
    from headrace.definitions.dbt_project import find_project
    from headrace.definitions.load import inspect_declarations
    from headrace.errors import LakeNotFoundError
    from headrace.samples.feature_views import list_feature_views
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    project, declared = find_project(settings), inspect_declarations(settings)
    models = {} if project is None else models_of(project, state_dir=settings.state_dir)
    try:
        with OpenLake.existing(settings) as lake:
            return list_feature_views(declared, models, lake)
    except LakeNotFoundError:
        return list_feature_views(declared, models, None)
