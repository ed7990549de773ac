"""`headrace online versions|switch|rollback|retire`: versions of a view side by side."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.cleanup import ApplyOption
from headrace.cli.commit_rows import NOT_APPLIED
from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.serving.store import OnlineStore, ViewState
    from headrace.serving.stored_names import Version
    from headrace.serving.versions import VersionMove

ViewName = Annotated[str, typer.Argument(metavar="VIEW", help="A published view.")]


def register(noun: typer.Typer) -> None:
    """Add the commands."""
    add(noun, "versions", versions, "online versions features.item_ctr")
    add(noun, "switch", switch, "online switch features.item_ctr", _applied("switch"))
    add(noun, "rollback", rollback, "online rollback features.item_ctr", _applied("rollback"))
    add(noun, "retire", retire, "online retire features.item_ctr former --apply")


def _applied(verb: str) -> str:
    return f"online {verb} features.item_ctr --apply"


def versions(view: ViewName, *, output: OutputOption = Format.TEXT) -> None:
    """Show the versions of a view in the online store: the served one, the next and the former one."""
    with _store_of(view) as store:
        output_of(output).table(_rows(store, view), columns=_COLUMNS, spare=("published_at",))


def switch(
    view: ViewName, *, apply: ApplyOption = False, output: OutputOption = Format.TEXT
) -> None:
    """Serve the next version of a view; the served one is kept as the former one, for a rollback.

    Requests go on: each is answered from one version. A former version that is there is deleted.
    """
    from headrace.serving.versions import plan_switch

    _move(view, plan_switch, apply=apply, output=output)


def rollback(
    view: ViewName, *, apply: ApplyOption = False, output: OutputOption = Format.TEXT
) -> None:
    """Serve the former version of a view again; the served one is kept as the next one."""
    from headrace.serving.versions import plan_rollback

    _move(view, plan_rollback, apply=apply, output=output)


def retire(
    view: ViewName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="`next` or `former`.")],
    *,
    apply: ApplyOption = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Delete a version of a view that is not served, and free its memory."""
    from headrace.serving.versions import apply_retire, versions_of

    if version not in ("next", "former"):
        msg = f"`{version}` is not `next` or `former`"
        raise typer.BadParameter(msg)
    with _store_of(view) as store:
        planned = versions_of(store, view).get(version)
        rows = [row for row in _rows(store, view) if row["version"] == version]
        if apply and planned is not None:
            apply_retire(store, planned)
    out = output_of(output)
    if rows or output is Format.JSON:
        out.table(rows, columns=_COLUMNS, spare=("published_at",))
    if rows:
        out.say("done" if apply else NOT_APPLIED)
    else:
        remedy = Remedy.run("online", "versions", view)
        out.say(f"`{view}` has no {version} version; nothing was deleted", remedy=remedy)


_COLUMNS = ("version", "rows", "snapshot_id", "differs_by", "published_at")


def _move(
    view: str,
    plan: "Callable[[str, Mapping[Version, ViewState]], VersionMove]",
    *,
    apply: bool,
    output: Format,
) -> None:
    from headrace.serving.versions import apply_move, versions_of

    with _store_of(view) as store:
        move = plan(view, versions_of(store, view))
        rows = _rows(store, view)
        if apply:
            apply_move(store, move)
    becomes = {old: new for old, new in move.moves} | dict.fromkeys(move.removed, "deleted")
    shown = [row | {"becomes": becomes.get(row["version"], row["version"])} for row in rows]
    columns = ("version", "becomes", *_COLUMNS[1:])
    output_of(output).table(shown, columns=columns, spare=("published_at",))
    output_of(output).say("done" if apply else NOT_APPLIED)


def _rows(store: "OnlineStore", view: str) -> list[dict[str, Any]]:
    from headrace.serving.stored_names import stored_name
    from headrace.serving.versions import shape_facts, versions_of

    found = versions_of(store, view)
    differ = shape_facts(list(found.values()))
    rows: list[dict[str, Any]] = []
    for (version, state), differs_by in zip(found.items(), differ, strict=True):
        fresh = store.freshness(stored_name(view, version))
        rows.append(
            {
                "version": version,
                "rows": 0 if fresh is None else fresh.rows,
                "snapshot_id": str(state.snapshot_id),
                "differs_by": differs_by,
                "as_of": state.as_of,
                "published_at": state.published_at,
            }
        )
    return rows


def _store_of(view: str) -> "OnlineStore":
    from headrace.config import Settings
    from headrace.errors import NotAFeatureViewError
    from headrace.serving.open import store_with
    from headrace.serving.versions import versions_of

    store = store_with(view, Settings.load())
    if not versions_of(store, view):
        store.close()
        raise NotAFeatureViewError.unpublished(view)
    return store
