"""`headrace online`: publish feature views to the online store, and see how fresh they are."""

import json
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.identifiers import TableName
    from headrace.serving.follow import Failed, Followed
    from headrace.tables.lake import OpenLake

ViewNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[VIEW]...", help="Feature views; those of all sample sets if none is named."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(
        help="Publish the newest feature values by entity, for look-ups at request time.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    noun.command("publish")(publish)
    noun.command("follow")(follow)
    noun.command("status")(status)
    app.add_typer(noun, name="online")


def publish(views: ViewNames = None, *, output: OutputOption = Format.TEXT) -> None:
    """Bring the online store up to the newest snapshot of each view. Safe to kill and to run again."""
    from headrace.config import Settings
    from headrace.serving.open import open_store
    from headrace.serving.publish import publish_view
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    with OpenLake.existing(settings) as lake, open_store(settings) as store:
        named = _views(views, settings, lake)
        done = [publish_view(lake, store, lake.table(name).head()) for name in named]
    rows = [asdict(one) | {"snapshot_id": _id(one.snapshot_id)} for one in done]
    columns = ("view", "mode", "rows_read", "rows_changed", "snapshot_id")
    out = output_of(output)
    out.table(rows, columns=columns, spare=("snapshot_id",), empty="no sample set uses a view")


def follow(
    views: ViewNames = None,
    *,
    every_ms: Annotated[int, typer.Option(help="How often to look for commits.", min=10)] = 200,
    output: OutputOption = Format.TEXT,
) -> None:
    """Publish each view as soon as it has a new snapshot, whoever commits, until stopped.

    SIGTERM and Ctrl-C end it after the publication that runs. One line is shown for each publication:
    how many entities it read and changed, how long it took, and how old the commit was in the end.
    """
    from headrace.config import Settings
    from headrace.serving.follow import follow as keep_up
    from headrace.serving.open import open_store
    from headrace.tables.lake import OpenLake

    settings, out, stop = Settings.load(), output_of(output), threading.Event()

    def report(done: "Followed | Failed") -> None:
        facts = _facts(done)
        if output is Format.JSON:
            typer.echo(json.dumps(facts))  # a document a line, as it has no end
        else:
            out.say(_line(facts))

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with OpenLake.existing(settings) as lake, open_store(settings) as store:
        named = _views(views, settings, lake)
        keep_up(lake, store, named, every_s=every_ms / 1_000, stop=stop, report=report)


def status(*, output: OutputOption = Format.TEXT) -> None:
    """Show each published view: entities, newest event, and whether its table has moved on."""
    from headrace.config import Settings
    from headrace.identifiers import TableName
    from headrace.serving.open import existing_store
    from headrace.tables.lake import OpenLake

    settings, out = Settings.load(), output_of(output)
    store = existing_store(settings)
    rows: list[dict[str, Any]] = []
    if store is not None:
        with OpenLake.existing(settings) as lake, store:
            for view in store.views():
                fresh = store.freshness(view)
                if fresh is None:
                    continue
                name = TableName.parse(view)
                head = lake.table(name).head().snapshot_id if lake.exists(name) else None
                rows.append(
                    asdict(fresh)
                    | {
                        "snapshot_id": _id(fresh.snapshot_id),
                        "up_to_date": head == fresh.snapshot_id,
                    }
                )
    columns = ("view", "rows", "newest_event_time", "published_at", "up_to_date")
    if rows or output is Format.JSON:
        out.table(rows, columns=columns)
    else:
        remedy = Remedy.run("online", "publish")
        out.say("nothing is published to the online store", remedy=remedy)


def _views(
    named: Sequence[str] | None, settings: "Settings", lake: "OpenLake"
) -> list["TableName"]:
    from headrace.definitions.load import load_sample_sets
    from headrace.identifiers import TableName

    if named:
        return [lake.table(TableName.parse(name)).name for name in named]
    declared = load_sample_sets(settings).values()
    return list(dict.fromkeys(use.view for each in declared for use in each.features))


def _id(snapshot_id: int | None) -> str | None:
    """Ids exceed the integers of JSON readers, and are no amounts."""
    return None if snapshot_id is None else str(snapshot_id)


def _facts(done: "Followed | Failed") -> dict[str, Any]:
    from headrace.serving.follow import Failed

    if isinstance(done, Failed):
        error = done.error.to_dict()
        return {"view": str(done.view), "error": error, "pause_s": done.pause_s}
    published = asdict(done.published)
    published["snapshot_id"] = _id(done.published.snapshot_id)
    return published | {"seconds": round(done.seconds, 3), "behind_s": round(done.behind_s, 3)}


def _line(facts: dict[str, Any]) -> str:
    if "error" in facts:
        again = f"tried again in {facts['pause_s']:g} s"
        return f"{facts['view']}  failed: {facts['error']['message']}; {again}"
    return (
        f"{facts['view']}  {facts['mode']}: {facts['rows_changed']} of {facts['rows_read']} "
        f"entities changed in {facts['seconds']:.2f} s, {facts['behind_s']:.2f} s after the commit"
    )
