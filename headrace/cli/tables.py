"""`headrace tables`: which tables there are, how healthy they are, and compacting them."""

import functools
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli import cleanup, compaction, move_main, refs
from headrace.cli.alter import alter
from headrace.cli.lakes import CatalogOption, TableArgument, TargetOption, look_at_lake
from headrace.cli.listed import show_tables
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_size, output_of
from headrace.cli.preview import preview
from headrace.cli.rows import delete
from headrace.clock import time_at
from headrace.errors import LakeError, Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.identifiers import TableName
    from headrace.maintenance.health.health import TableHealth
    from headrace.registry import CommitRecord
    from headrace.tables.lake import LakeTable
    from headrace.tables.version import TableVersion

SNAPSHOTS_SHOWN = 10
_SPARE = ("inputs", "files_removed", "files_added", "snapshot")
_show_all = functools.partial(
    show_tables,
    empty="no tables yet",
    remedy=Remedy.run("ingest", "run", advice="make the first ones"),
)
_MIB = 1024 * 1024

OneOrAll = Annotated[
    str | None, typer.Argument(metavar="[TABLE]", help="As in `raw.impressions`; all if not named.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "tables", help="Look at tables and keep them fast.")
    add(noun, "list", list_tables, "tables list", "tables list --output json")
    add(noun, "show", show, "tables show raw.impressions", "tables show raw.clicks --snapshots 3")
    add(
        noun,
        "preview",
        preview,
        "tables preview raw.clicks",
        "tables preview samples.ctr --rows 3 --column sample_id --column click",
    )
    add(noun, "health", health, "tables health", "tables health raw.impressions")
    add(
        noun,
        "compact",
        compaction.compact,
        "tables compact raw.impressions",
        "tables compact raw.impressions --sort-by user_id,event_time --apply",
    )
    add(
        noun,
        "alter",
        alter,
        "tables alter raw.clicks --add note:string",
        "tables alter raw.clicks --rename zip=postcode --drop note --apply",
        "tables alter raw.clicks --partition-by 'day(event_time)' --apply",
    )
    cleanup.register(noun)
    refs.register(noun)
    move_main.register(noun)
    add(
        noun,
        "delete",
        delete,
        "tables delete raw.clicks --where 'user_id = 7'",
        "tables delete raw.clicks --where \"event_time < '2024-05-01 00:00:00Z'\" --apply",
    )


def list_tables(*, catalog: CatalogOption = None, output: OutputOption = Format.TEXT) -> None:
    """List every table with its rows, files, size and newest commit, and those of Paimon after them.

    One that cannot be read is listed with the error; the others are shown, and the exit status says so.
    """
    from headrace.cli.paimon import OtherTables, listed_tables
    from headrace.tables.readable import read_each

    with look_at_lake(catalog) as lake:
        read = read_each(lake, lambda table: _facts(table.head()))
        others = OtherTables() if catalog else listed_tables(lake.settings)
    columns = ("table", "rows", "files", "size", "snapshot", "committed")
    if others.rows:
        columns = (*columns, "tags", "health")
    _show_all(
        [*read.found, *others.rows],
        {**_by_name(read.unreadable), **others.unreadable},
        absent=others.absent,
        columns=columns,
        output=output,
        catalog=catalog,
    )


def show(
    table: TableArgument,
    *,
    snapshots: Annotated[
        int, typer.Option("--snapshots", min=0, help="How many commits to show, newest first.")
    ] = SNAPSHOTS_SHOWN,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show one table: columns, partitioning, tags, and what its latest commits did and read."""
    from headrace.tables.refs.refs import tags

    with look_at_lake(catalog) as lake:
        found = lake.table(table)
        head, tagged = found.head(), tags(found)
        commits = _commits(found, limit=snapshots)
    columns = [
        {"column": field.name, "type": str(field.type), "required": not field.nullable}
        for field in head.schema
    ]
    tag_rows = [{"tag": name, "snapshot": str(at)} for name, at in tagged.items()]
    facts = _facts(head) | {"partitioned_by": list(head.partition_by)}
    out = output_of(output, catalog=catalog)
    if output is Format.JSON:
        tagged_text = {name: str(at) for name, at in tagged.items()}
        out.record(facts | {"columns": columns, "tags": tagged_text, "snapshots": commits})
        return
    out.record(facts)
    for title, rows in (("columns", columns), ("tags", tag_rows), ("snapshots", commits)):
        if rows:
            out.show(f"\n{title}")
            out.table(rows, columns=tuple(rows[0]), spare=_SPARE)


def health(
    table: OneOrAll = None,
    *,
    target_mib: TargetOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Score tables from 0 to 100, worst first: the part that costs most, and what fixing it gains.

    One that cannot be read is shown with the error; the others are scored, and the exit status says so.
    """
    from headrace.maintenance.health.health import health as health_of
    from headrace.tables.readable import read_each

    target_bytes = None if target_mib is None else target_mib * _MIB
    with look_at_lake(catalog) as lake:
        if table:
            scored, unreadable = (health_of(lake.table(table), target_bytes=target_bytes),), {}
        else:
            read = read_each(lake, lambda each: health_of(each, target_bytes=target_bytes))
            scored, unreadable = read.found, read.unreadable
    if output is Format.TEXT and table:
        (one,) = scored
        out = output_of(output, catalog=catalog)
        out.show(f"{one.table}  score {one.score}")
        parts = [asdict(part) | {"points": -part.penalty} for part in one.parts]
        for part in parts:
            part["gain"] = part["gain"] or "—"
        out.table(parts, columns=("name", "points", "finding", "gain"))
        what = Remedy.run_on_catalog("maintain", advice="what to do about it, and when")
        out.say(f"\n{what.on(catalog)}")
        return
    rows = [_health_row(each) for each in sorted(scored, key=lambda each: each.score)]
    columns = ("table", "score", "worst_part", "fixing_it_gains")
    _show_all(rows, _by_name(unreadable), columns=columns, output=output, catalog=catalog)


def _by_name(unreadable: "Mapping[TableName, LakeError]") -> dict[str, LakeError]:
    return {str(name): error for name, error in unreadable.items()}


def _facts(head: "TableVersion") -> dict[str, object]:
    files = head.files()
    count_bytes = sum(file.bytes for file in files)
    at_ms = head.committed_at_ms
    return {
        "table": str(head.name),
        "rows": head.row_count,
        "files": len(files),
        "bytes": count_bytes,
        "size": as_size(count_bytes),
        "snapshot": None if head.snapshot_id is None else str(head.snapshot_id),
        "committed": time_at(at_ms),
    }


def _commits(table: "LakeTable", *, limit: int) -> list[dict[str, object]]:
    if table.lake.foreign:  # commits of other programs are not recorded: read the snapshots
        from headrace.tables.history.commit_log import newest

        return [_commit(record, alive=True) for record in newest(table, limit=limit)]
    alive = {snapshot.snapshot_id for snapshot in table.iceberg().metadata.snapshots}
    found = table.lake.registry.commits(str(table.name), limit=limit)
    return [_commit(record, alive=record.snapshot_id in alive) for record in found]


def _commit(record: "CommitRecord", *, alive: bool) -> dict[str, object]:
    return {
        "snapshot": str(record.snapshot_id),
        "committed": time_at(record.committed_at_ms),
        "operation": record.operation,
        "rows_added": record.rows_added,
        "rows_removed": record.rows_removed,
        "files_added": record.files_added,
        "files_removed": record.files_removed,
        "inputs": [f"{table}@{at}" for table, at in record.inputs.items()],
        "state": "alive" if alive else "expired",
    }


def _health_row(found: "TableHealth") -> dict[str, object]:
    worst = found.worst
    return {
        **asdict(found),
        "table": str(found.table),
        "worst_part": worst.finding if worst else None,
        "fixing_it_gains": worst.gain if worst else "",
    }
