"""`headrace paimon import|export`: rows of Paimon tables into the lake, and of the lake to Paimon."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.cli.paimon_options import PaimonTableArgument, WarehouseOption, open_warehouse

if TYPE_CHECKING:
    from headrace.interop.paimon.importer import ImportResult
    from headrace.interop.paimon.table import PaimonTable
    from headrace.tables.lake import OpenLake

_SHAPES, _BEGINNINGS = ("changes", "features", "state"), ("oldest", "newest")

ShapeOption = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="SHAPE",
        help="`changes`: a row for each change. `features`: a feature view that changes slowly. "
        "`state`: the rows of one snapshot.",
    ),
]
TagOption = Annotated[
    str | None,
    typer.Option("--tag", help="With `--as state`: take this tag, and set it here too."),
]
EventTimeOption = Annotated[
    str | None,
    typer.Option(
        "--event-time",
        metavar="COLUMN",
        help="With `--as features`: when a value happened; the commit time if not given.",
    ),
]
TtlOption = Annotated[
    int | None,
    typer.Option("--ttl-s", min=1, help="With `--as features`: how long a value is valid, s."),
]
BeginOption = Annotated[
    str,
    typer.Option(
        "--begin",
        metavar="WHERE",
        help="For a new table: with the `oldest` changes that are there, or the `newest` state.",
    ),
]
HoldOption = Annotated[
    bool,
    typer.Option("--hold", help="Ask Paimon to keep snapshots until they are taken here."),
]


def register(noun: typer.Typer) -> None:
    """Add the commands to the noun `paimon`."""
    add(
        noun,
        "import",
        import_table,
        "paimon import shop.orders --to raw.orders",
        "paimon import shop.prices --to features.prices --as features --event-time changed_at",
    )
    add(noun, "export", export_table, "paimon export features.item_ctr --to shop.item_ctr")


def import_table(
    table: PaimonTableArgument,
    *,
    to: Annotated[str, typer.Option("--to", metavar="TABLE", help="The table of the lake.")],
    as_: ShapeOption = "changes",
    tag: TagOption = None,
    event_time: EventTimeOption = None,
    ttl_s: TtlOption = None,
    begin: BeginOption = "oldest",
    hold: HoldOption = False,
    warehouse: WarehouseOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Take what the lake's table has not yet, exactly once. Safe to kill and to run again."""
    from headrace.config import Settings
    from headrace.tables.lake import OpenLake

    _refuse_misfit(as_, begin, tag=tag, event_time=event_time, ttl_s=ttl_s)
    found = open_warehouse(warehouse).table(table)
    with OpenLake.open(Settings.load()) as lake:
        done = _imported(
            lake,
            found,
            to,
            as_,
            tag=tag,
            event_time=event_time,
            ttl_s=ttl_s,
            begin=begin,
            hold=hold,
        )
    out = output_of(output)
    facts = {
        "table": done.table,
        "target": str(done.target),
        "as": str(done.taken_as),
        "rows": done.rows,
        "commits": done.commits,
        "snapshots": done.snapshots,
        "snapshot": done.snapshot_id,
    }
    out.record(facts)


def export_table(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Of the lake, as in `raw.events`.")],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="TABLE", help="`database.table` of the Paimon warehouse.")
    ],
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="COLUMN", help="Of the primary key of a new table; may be repeated."
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option("--tag", help="Export the snapshot of this tag, and set it there too."),
    ] = None,
    warehouse: WarehouseOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Write the rows of a table to a Paimon table of its own, in one commit, once for each snapshot."""
    from headrace.cli.lakes import open_lake
    from headrace.interop.paimon.give import export_version

    found = open_warehouse(warehouse)
    with open_lake() as lake:
        source = lake.table(table)
        version = source.head() if tag is None else source.at(tag=tag)
        done = export_version(lake, version, found, to, keys=keys or (), tag=tag)
    facts = {
        "table": done.table,
        "snapshot": str(done.source_snapshot_id),
        "target": done.target,
        "target_snapshot": done.snapshot_id,
        "rows": done.rows,
        "written": done.written,
    }
    output_of(output).record(facts)


def _refuse_misfit(
    shape: str, begin: str, *, tag: str | None, event_time: str | None, ttl_s: int | None
) -> None:
    """Refuse options that the shape of the import has no use for."""
    for value, allowed, option in ((shape, _SHAPES, "--as"), (begin, _BEGINNINGS, "--begin")):
        if value not in allowed:
            msg = f"`{value}` is not one of {', '.join(allowed)}"
            raise typer.BadParameter(msg, param_hint=option)
    for value, needed, option in (
        (tag, "state", "--tag"),
        (event_time, "features", "--event-time"),
        (ttl_s, "features", "--ttl-s"),
    ):
        if value is not None and shape != needed:
            msg = f"it is for `--as {needed}`"
            raise typer.BadParameter(msg, param_hint=option)


def _imported(
    lake: "OpenLake",
    table: "PaimonTable",
    to: str,
    shape: str,
    *,
    tag: str | None,
    event_time: str | None,
    ttl_s: int | None,
    begin: str,
    hold: bool,
) -> "ImportResult":
    from headrace.definitions.feature_view import FeatureView
    from headrace.identifiers import TableName
    from headrace.interop.paimon.plan import Begin
    from headrace.interop.paimon.rows import TakenAs
    from headrace.interop.paimon.take import take_changes, take_features, take_state

    target, wanted = TableName.parse(to), TakenAs(shape)
    if wanted is TakenAs.STATE:
        return take_state(lake, table, target, tag=tag)
    if wanted is TakenAs.CHANGES:
        return take_changes(lake, table, target, begin=Begin(begin), hold=hold)
    ttl = None if ttl_s is None else dt.timedelta(seconds=ttl_s)
    view = FeatureView(view=target, entity=table.definition.keys, ttl=ttl)
    return take_features(lake, table, view, event_time=event_time, begin=Begin(begin), hold=hold)
