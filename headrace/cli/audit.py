"""`headrace ingest audit`: prove that every record of a stream is there, and once."""

from dataclasses import asdict
from typing import Annotated

import typer

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.output import Format, OutputOption, output_of


def audit(
    stream: StreamName,
    *,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the statement, for any engine, and run nothing.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Compare rows and dead letters with what was consumed, for each partition; one SQL statement.

    Ends with status 1 if an offset is missing or there twice.
    """
    from headrace.ingest.audit import plan_audit, run_audit
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    out = output_of(output)
    with OpenLake.existing(settings) as lake:
        plan = plan_audit(lake, declared)
        if sql:
            out.facts({"sql": plan.sql})
            out.show(plan.sql.rstrip())
            return
        found = run_audit(lake, plan)
    columns = ("source", "partition", "consumed", "rows", "dead_letters", "absent", "verdict")
    out.table([asdict(each) for each in found.partitions], columns=columns, spare=("absent",))
    error = found.error()
    if error is not None:
        raise error
    partitions = f"{len(found.partitions):,} partition{'s' if len(found.partitions) != 1 else ''}"
    out.say(f"{stream}: {partitions} exact")
