"""`headrace paimon tables|show|tag`: the tables of a Paimon warehouse."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli import paimon_moves
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_size, output_of
from headrace.cli.paimon_options import PaimonTableArgument, WarehouseOption, open_warehouse
from headrace.errors import LakeError, PaimonUnsupportedError, Remedy

if TYPE_CHECKING:
    from headrace.interop.paimon.client import PaimonWarehouse
    from headrace.interop.paimon.facts import PaimonSnapshot
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


def list_tables(*, warehouse: WarehouseOption = None, output: OutputOption = Format.TEXT) -> None:
    """List the Paimon tables: records before a merge, files, snapshots and tags, and what stands against an import."""
    found = open_warehouse(warehouse)
    rows = [_listed(found, name) for name in found.names()]
    out = output_of(output)
    if rows or output is Format.JSON:
        columns = ("table", "key", "records", "files", "size", "snapshots", "tags", "health")
        out.table(rows, columns=columns)
    else:
        out.say(f"{found.uri} has no tables")


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
    opened = open_warehouse(warehouse)
    found = opened.table(table)
    facts = _listed(opened, table)
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
    if output is Format.JSON:
        facts = {"table": table, "name": name, "snapshot": snapshot_id}
        out.record(facts | {"dropped": drop and apply})
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


def _listed(warehouse: "PaimonWarehouse", name: str) -> dict[str, object]:
    """Return the facts of a table; one that cannot be read is listed with its error."""
    try:
        table = warehouse.table(name)
        snapshots, tags = table.snapshots(), table.tags()
        newest = next(reversed(snapshots), None)
        files = None if newest is None else table.statistics(newest.id)
        health, remedy = _health(table)
    except LakeError as error:
        return {"table": name, "health": error.code, "message": error.message}
    return {
        "table": name,
        "key": ", ".join(table.definition.keys) or None,
        "records": None if newest is None else newest.rows,
        "files": 0 if files is None else files.files,
        "size": as_size(0 if files is None else files.bytes),
        "bytes": 0 if files is None else files.bytes,
        "unmerged_files": 0 if files is None else files.unmerged,
        "files_per_bucket_max": 0 if files is None else files.per_bucket_max,
        "snapshots": len(snapshots),
        "oldest_snapshot": snapshots[0].id if snapshots else None,
        "snapshot": None if newest is None else newest.id,
        "committed": None if newest is None else newest.committed_at,
        "tags": sorted(tags),
        "health": health,
        "remedy": remedy,
    }


def _health(table: "PaimonTable") -> "tuple[str, Remedy | None]":
    """Say whether a table can be imported: by changes, by state alone, or not at all."""
    from headrace.interop.paimon.support import changes_of, refuse_unknown

    try:
        refuse_unknown(table.definition, version=table.version)
    except PaimonUnsupportedError as error:
        return f"cannot be read: {error.reason}", error.remedy
    try:
        return f"reads {changes_of(table.definition)}", None
    except PaimonUnsupportedError as error:
        return f"reads state only: {error.reason}", error.remedy


def _snapshot_row(snapshot: "PaimonSnapshot") -> Mapping[str, object]:
    return {
        "snapshot": snapshot.id,
        "committed": snapshot.committed_at,
        "kind": snapshot.kind,
        "records": snapshot.rows,
        "records_added": snapshot.rows_changed,
        "changelog_records": snapshot.changelog_rows,
    }
