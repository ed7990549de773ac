"""`headrace paimon tables|show|tag`: the tables of a Paimon warehouse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli import paimon_moves, paimon_pins
from headrace.cli.listed import show_tables
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_size, output_of
from headrace.cli.paimon_options import PaimonTableArgument, WarehouseOption, open_warehouse
from headrace.errors import LakeError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.interop.paimon.client import PaimonWarehouse
    from headrace.interop.paimon.facts import PaimonSnapshot
    from headrace.interop.paimon.summary import PaimonSummary
    from headrace.interop.paimon.table import PaimonTable

SNAPSHOTS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app,
        "paimon",
        help="Take tables of Paimon into the lake, and give tables of the lake to Paimon.",
    )
    add(noun, "tables", list_tables, "paimon tables", "paimon tables --warehouse /data/paimon")
    add(noun, "show", show, "paimon show shop.orders", "paimon show shop.orders --snapshots 3")
    add(
        noun,
        "tag",
        tag,
        "paimon tag shop.orders before_june",
        "paimon tag shop.orders before_june --drop --apply",
    )
    paimon_moves.register(noun)
    paimon_pins.register(noun)


def list_tables(*, warehouse: WarehouseOption = None, output: OutputOption = Format.TEXT) -> None:
    """List the Paimon tables: records before a merge, files, snapshots and tags, and what stands against an import.

    One that cannot be read is listed with the error; the others are shown, and the exit status says so.
    """
    found = open_warehouse(warehouse)
    rows, unreadable = _rows_of(found)
    columns = ("table", "key", "records", "files", "size", "snapshots", "tags", "health")
    show_tables(
        rows, unreadable, columns=columns, output=output, empty=f"{found.uri} has no tables"
    )


@dataclass(frozen=True, kw_only=True)
class OtherTables:
    """Tables of another format as `tables list` shows them, and by name why others cannot be read.

    `absent` says why none of them is shown.
    """

    rows: Sequence[Mapping[str, object]] = ()
    unreadable: Mapping[str, LakeError] = field(default_factory=dict[str, LakeError])
    absent: LakeError | None = None


def listed_tables(settings: "Settings") -> OtherTables:
    """Return the tables of the settings' warehouse; none without one."""
    from headrace.interop.paimon.client import PaimonWarehouse

    if not settings.paimon_warehouse:
        return OtherTables()
    try:
        rows, unreadable = _rows_of(PaimonWarehouse.open(settings))
    except LakeError as error:
        return OtherTables(absent=error)
    return OtherTables(
        rows=[
            {**row, "table": f"paimon:{row['table']}", "rows": row["records"], "format": "paimon"}
            for row in rows
        ],
        unreadable={f"paimon:{name}": error for name, error in unreadable.items()},
    )


def _rows_of(
    warehouse: "PaimonWarehouse",
) -> "tuple[list[dict[str, object]], dict[str, LakeError]]":
    from headrace.interop.paimon.summary import look_at_each

    rows: list[dict[str, object]] = []
    unreadable: dict[str, LakeError] = {}
    for name, found in look_at_each(warehouse).items():
        if isinstance(found, LakeError):
            unreadable[name] = found
        else:
            rows.append(_row(found))
    return rows, unreadable


def show(
    table: PaimonTableArgument,
    *,
    snapshots: Annotated[
        int, typer.Option("--snapshots", min=0, help="How many to show, newest first.")
    ] = SNAPSHOTS_SHOWN,
    warehouse: WarehouseOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show one Paimon table: columns, options, tags, snapshots, and whether it can be imported."""
    from headrace.interop.paimon.summary import summary

    found = open_warehouse(warehouse).table(table)
    facts = _row(summary(found))
    there = found.snapshots()
    newest = [_snapshot_row(each) for each in reversed(there)][:snapshots]
    tagged = [
        {"tag": name, "snapshot": each.id, "committed": each.committed_at}
        for name, each in found.tags().items()
    ]
    said = found.definition
    columns = [{"column": name, "type": kind} for name, kind in said.types.items()]
    out = output_of(output)
    if output is Format.JSON:
        more = {"columns": columns, "options": dict(said.options), "tagged": tagged}
        out.record(facts | more | {"commits": newest})
        return
    out.record(facts)
    options = [{"option": name, "value": value} for name, value in sorted(said.options.items())]
    for title, rows in (
        ("columns", columns),
        ("options", options),
        ("tags", tagged),
        ("snapshots", newest),
    ):
        if rows:
            out.say(f"\n{title}")
            out.table(rows, columns=tuple(rows[0]))


def tag(
    table: PaimonTableArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the tag.")],
    *,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="SNAPSHOT", help="The newest snapshot if not given."),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Drop it; shows what it names.")] = False,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="With --drop: do it; without this only the plan is shown."),
    ] = False,
    warehouse: WarehouseOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Name a snapshot of a Paimon table, so that its files stay, or drop the name with --drop --apply."""
    from headrace.cli.commit_rows import NOT_APPLIED

    found = open_warehouse(warehouse).table(table)
    if drop:
        snapshot_id = _tagged(found, name)
        if apply:
            found.drop_tag(name)
    else:
        snapshot_id = _newest(found) if at is None else at
        found.create_tag(name, snapshot_id=snapshot_id)
    out = output_of(output)
    facts = {"table": table, "name": name, "snapshot": snapshot_id}
    out.facts(facts | {"dropped": drop and apply})
    out.say(f"{table}: tag `{name}` names snapshot {snapshot_id}")
    if drop:
        out.say("done" if apply else NOT_APPLIED)


def _tagged(table: "PaimonTable", tag: str) -> int:
    from headrace.errors import PaimonSnapshotNotFoundError

    found = table.tags().get(tag)
    if found is None:
        raise PaimonSnapshotNotFoundError(table.name, f"tag `{tag}`")
    return found.id


def _newest(table: "PaimonTable") -> int:
    from headrace.errors import PaimonSnapshotNotFoundError

    found = next(reversed(table.snapshots()), None)
    if found is None:
        raise PaimonSnapshotNotFoundError(table.name, "snapshot yet")
    return found.id


def _row(found: "PaimonSummary") -> dict[str, object]:
    """Return the facts of a table; one that cannot be read is listed with its error."""
    if found.error:
        return {"table": found.table, "health": found.health, "message": found.message}
    return {
        "table": found.table,
        "key": ", ".join(found.keys) or None,
        "records": found.records,
        "files": found.files.files,
        "size": as_size(found.files.bytes),
        "bytes": found.files.bytes,
        "unmerged_files": found.files.unmerged,
        "files_per_bucket_max": found.files.per_bucket_max,
        "snapshots": found.snapshots,
        "oldest_snapshot": found.oldest_snapshot_id,
        "snapshot": found.snapshot_id,
        "committed": found.committed_at,
        "tags": sorted(found.tags),
        "health": found.health,
        "remedy": found.remedy,
    }


def _snapshot_row(snapshot: "PaimonSnapshot") -> Mapping[str, object]:
    return {
        "snapshot": snapshot.id,
        "committed": snapshot.committed_at,
        "kind": snapshot.kind,
        "records": snapshot.rows,
        "records_added": snapshot.rows_changed,
        "changelog_records": snapshot.changelog_rows,
    }
