"""`headrace tables delete`: delete the rows of a table that match a condition."""

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.lakes import CatalogOption, open_lake
from headrace.cli.output import Format, Output, OutputOption, as_text, output_of

if TYPE_CHECKING:
    from headrace.dml.delete import Deletion

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="As in `raw.impressions`.")]


def delete(
    table: TableArgument,
    *,
    where: Annotated[
        str,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="As in `user_id = 7 and event_time < '2024-05-01 00:00:00Z'`.",
        ),
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
    ] = False,
    branch: Annotated[str, typer.Option("--branch", help="Where to delete them.")] = "main",
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Delete rows. Shows how many and from which files, and changes nothing without --apply.

    A row is deleted where the condition is true; where it is null the row stays. Conditions compare
    columns with values: =, !=, <, <=, >, >=, between, in, like 'prefix%', is null, is nan, joined by
    and, or, not. Older snapshots keep the rows until they expire.
    """
    from headrace.dml.condition import Condition
    from headrace.dml.delete import count_deletion, delete_where, plan_delete
    from headrace.tables.commits.operations import Provenance

    out = output_of(output, catalog=catalog)
    with open_lake(catalog) as lake:
        found = lake.table(table)
        version = found.head(branch)
        condition = Condition(where, version.metadata, table=table, inspector=version.inspector)
        deletion = count_deletion(version, plan_delete(version, condition), condition)
        facts = _facts(deletion) | {"where": where, "applied": False, "snapshot_after": None}
        _say(out, deletion)
        if deletion and apply:
            done = delete_where(found, where, provenance=Provenance(run_id="cli"), branch=branch)
            after = None if done.commit is None else str(done.commit.snapshot_id)
            facts |= {"applied": True, "rows": done.rows, "snapshot_after": after}
            out.say(f"done: {done.rows:,} rows deleted, snapshot {as_text(after)}")
        elif deletion:
            out.say("nothing was changed; add --apply to do it")
    out.facts(facts)


def _say(out: Output, deletion: "Deletion") -> None:
    if not deletion:
        out.say(f"{deletion.table}: no row matches, {deletion.files_read:,} files were read")
        return
    out.say(
        f"{deletion.table} at snapshot {deletion.snapshot_id}: {deletion.rows:,} rows match; "
        f"{len(deletion.dropped):,} files dropped whole, {len(deletion.rewritten):,} rewritten, "
        f"{deletion.files_untouched:,} untouched"
    )


def _facts(deletion: "Deletion") -> dict[str, object]:
    at = deletion.snapshot_id
    return {
        "table": str(deletion.table),
        "snapshot": None if at is None else str(at),
        "rows": deletion.rows,
        "files_dropped": len(deletion.dropped),
        "files_rewritten": len(deletion.rewritten),
        "bytes_rewritten": sum(entry.bytes for entry in deletion.rewritten),
        "files_untouched": deletion.files_untouched,
        "files_read": deletion.files_read,
    }
