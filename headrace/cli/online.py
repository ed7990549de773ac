"""`headrace online`: publish feature views to the online store, and see how fresh they are."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli import online_versions
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of
from headrace.cli.stopping import stopping
from headrace.errors import Remedy

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.config import Settings
    from headrace.definitions.windows import Windows
    from headrace.identifiers import TableName
    from headrace.serving.follow import Failed, Followed
    from headrace.tables.lake import OpenLake

ViewNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[VIEW]...",
        help="Feature views; those of all sample sets and all window views if none is named.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app,
        "online",
        help="Publish the newest feature values by entity, for look-ups at request time.",
    )
    add(
        noun,
        "publish",
        publish,
        "online publish",
        "online publish features.item_ctr",
        "online publish --plan",
        "online publish features.item_ctr --beside",
    )
    add(noun, "follow", follow, "online follow --every-ms 500")
    add(
        noun,
        "get",
        get,
        """online get features.item_ctr '{"item_id": 7}'""",
        """online get features.item_ctr '{"item_id": 7}' --at 2026-03-01T12:00:00Z""",
    )
    add(noun, "status", status, "online status", "online status --output json")
    online_versions.register(noun)


BesideOption = Annotated[
    bool,
    typer.Option(
        "--beside",
        help="Where a view is defined otherwise than what is served, fill its next version instead.",
    ),
]


def publish(
    views: ViewNames = None,
    *,
    beside: BesideOption = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show rows and bytes of each view; publish nothing.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Bring the online store up to the newest snapshot of each view. Safe to kill and to run again."""
    from headrace.config import Settings
    from headrace.serving.beside import publish_versions
    from headrace.serving.estimate import estimate
    from headrace.serving.open import open_store
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    with OpenLake.existing(settings) as lake, open_store(settings) as store:
        named, windows = _views(views, settings, lake)
        if plan:
            sizes = [estimate(lake, store, name, windows=windows.get(name)) for name in named]
            output_of(output).table(
                [asdict(one) for one in sizes], columns=("view", "rows", "bytes")
            )
            return
        done = [
            one
            for name in named
            for one in publish_versions(lake, store, name, windows=windows.get(name), beside=beside)
        ]
    rows = [asdict(one) | {"snapshot_id": _id(one.snapshot_id)} for one in done]
    columns = ("view", "mode", "rows_read", "rows_changed", "snapshot_id")
    out = output_of(output)
    out.table(rows, columns=columns, spare=("snapshot_id",), empty="no sample set uses a view")


def follow(
    views: ViewNames = None,
    *,
    every_ms: Annotated[int, typer.Option(help="How often to look for commits.", min=10)] = 200,
    beside: BesideOption = False,
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

    settings, out = Settings.load(), output_of(output)

    def report(done: "Followed | Failed") -> None:
        facts = _facts(done)
        if output is Format.JSON:
            typer.echo(json.dumps(facts))  # a document a line, as it has no end
        else:
            out.say(_line(facts))

    with (
        stopping() as stop,
        OpenLake.existing(settings) as lake,
        open_store(settings) as store,
    ):
        named, windows = _views(views, settings, lake)
        every_s = every_ms / 1_000
        keep_up(
            lake,
            store,
            named,
            every_s=every_s,
            stop=stop,
            report=report,
            windows=windows,
            beside=beside,
        )


def get(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="A published view.")],
    entities: Annotated[
        list[str],
        typer.Argument(metavar="ENTITY...", help="JSON objects such as '{\"user_id\": 7}'."),
    ],
    *,
    at: Annotated[
        str | None, typer.Option(help="A moment other than now, as in 2026-03-01T12:00:00Z.")
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Look up the values of entities as the server does, all at one moment."""
    from headrace.config import Settings
    from headrace.serving.open import store_with
    from headrace.serving.vectors import lookup_vectors

    keys, moment = [_entity(text) for text in entities], _moment(at)
    with store_with(view, Settings.load()) as store:
        found = lookup_vectors(store, [view], keys, at=moment)
    (rows,) = found.views
    columns = ("entity", *found.columns(), "status")
    shown = [
        {"entity": text, "status": status}
        | {name: _plain(values[number]) for name, values in found.columns().items()}
        for number, (text, status) in enumerate(zip(entities, rows.statuses, strict=True))
    ]
    output_of(output).table(shown, columns=columns)


def status(*, output: OutputOption = Format.TEXT) -> None:
    """Show each published view: entities, newest event, and the commits of its table since then."""
    from headrace.config import Settings
    from headrace.serving.open import published_views
    from headrace.standing.edges import online_edges
    from headrace.tables.lake import OpenLake

    settings, out = Settings.load(), output_of(output)
    views = published_views(settings)
    rows: list[dict[str, Any]] = []
    if views:
        with OpenLake.existing(settings) as lake:
            behind = [edge.commits for edge in online_edges(lake, views)]
        rows = [
            asdict(each.fresh)
            | {
                "snapshot_id": _id(each.fresh.snapshot_id),
                "newer_commits": commits,
                "up_to_date": commits == 0,
            }
            for each, commits in zip(views, behind, strict=True)
        ]
    columns = ("view", "rows", "newest_event_time", "published_at", "newer_commits")
    if rows or output is Format.JSON:
        out.table(rows, columns=columns, spare=("published_at",))
    else:
        remedy = Remedy.run("online", "publish")
        out.say("nothing is published to the online store", remedy=remedy)


def _views(
    named: Sequence[str] | None, settings: "Settings", lake: "OpenLake"
) -> tuple[list["TableName"], dict["TableName", "Windows"]]:
    """Return the views that are named or meant, and the declarations of all window views."""
    from headrace.definitions.load import load_sample_sets, load_window_views
    from headrace.identifiers import TableName

    windows = {TableName.parse(n): one for n, one in load_window_views(settings).items()}
    if named:
        names = [TableName.parse(name) for name in named]
        return [name if name in windows else lake.table(name).name for name in names], windows
    declared = load_sample_sets(settings).values()
    uses = [use.view for each in declared for use in each.features]
    return list(dict.fromkeys([*uses, *windows])), windows


def _entity(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"`{text}` is no JSON: {error}"
        raise typer.BadParameter(msg) from error
    if not isinstance(found, dict):
        msg = f"`{text}` is no JSON object, as '{{\"user_id\": 7}}' is"
        raise typer.BadParameter(msg)
    return found  # pyright: ignore[reportUnknownVariableType]


def _moment(text: str | None) -> "datetime | None":
    from datetime import datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if moment.tzinfo is None:
        msg = f"`{text}` has no time zone; write `{text}Z` for UTC"
        raise typer.BadParameter(msg)
    return moment


def _plain(value: Any) -> Any:  # noqa: ANN401  (JSON)
    from headrace.serving.values import plain

    return plain(value)


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
