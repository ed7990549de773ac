"""`headrace flink`: streams that a job of Flink writes."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, Output, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.flink.jobs import JobStatus, StreamJob


class Side(StrEnum):
    """Who may write a stream."""

    FLINK = "flink"
    HEADRACE = "headrace"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app, "flink", help="Let Flink write streams: jobs from contracts, and handover by offsets."
    )
    add(noun, "submit", submit, "flink submit views --print", "flink submit views")
    add(noun, "status", status, "flink status views")
    add(noun, "note", note, "flink note views")
    add(noun, "stop", stop, "flink stop views")
    add(noun, "restore", restore, "flink restore views")
    add(noun, "handover", handover, "flink handover views --to headrace")


@contextmanager
def _job(name: str) -> "Generator[StreamJob]":
    from headrace.flink.jobs import StreamJob
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(name)
    with OpenLake.open(settings) as lake:
        yield StreamJob(lake, declared)


def submit(
    stream: StreamName,
    *,
    show: Annotated[
        bool, typer.Option("--print", help="Print the statements, without secrets; start nothing.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Start the job of a stream that Flink owns, from the offsets in its table, unless it runs.

    Give the stream to Flink by `headrace flink handover STREAM --to flink`, which starts the job too.
    """
    out = output_of(output)
    if show:
        _print(stream, out)
        return
    with _job(stream) as job:
        _show(out, job.submit())


def _print(name: str, out: Output) -> None:
    from headrace.flink.ingest_sql import ingest_sql
    from headrace.flink.places import places_of

    settings, declared = stream_named(name)
    places = places_of(settings, stream=name).shown()
    sql = ingest_sql(declared, places, starts={}, group=f"headrace-{name}")
    out.record({"sql": sql.text, "plan": sql.plan})
    out.say(sql.text.rstrip())


def status(
    stream: StreamName,
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show who owns a stream, and whether its job is well.

    Ends with status 1 if the job is lost, restarts again and again, fails its checkpoints or commits
    nothing, or if the stream has two writers; the error names the root exception.
    """
    out = output_of(output)
    with _job(stream) as job:
        _show(out, job.check())


def note(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Take note of what the job of a stream wrote: positions, holes and the watermark.

    Each record is looked for in the topic, the table and the dead letters. Run it beside the job as
    often as the watermark should move.
    """
    from headrace.flink.note import take_note

    out = output_of(output)
    with _job(stream) as job:
        job.owned()
        found = take_note(job.lake, job.stream, complete=False)
    out.record({"stream": stream, "records": found.records})
    out.say(f"{stream}  {found.records:,} records noted")


def stop(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Stop the job of a stream with a savepoint, and take note of all that it wrote."""
    from headrace.flink import recovery

    out = output_of(output)
    with _job(stream) as job:
        owner, found = recovery.stop(job)
    facts = {"stream": stream, "savepoint": owner.savepoint, "records": found.records}
    out.record(facts)
    out.say(f"{stream}  stopped at {owner.savepoint}")


def restore(
    stream: StreamName,
    *,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", help="Its location; the savepoint or the newest if not given."
        ),
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Start the job of a stream again from its savepoint or its newest checkpoint.

    A checkpoint that is older than what the table holds is refused: its rows would be there twice.
    """
    from headrace.flink import recovery

    out = output_of(output)
    with _job(stream) as job:
        _show(out, recovery.restore(job, checkpoint=checkpoint))


def handover(
    stream: StreamName,
    *,
    to: Annotated[Side, typer.Option("--to", help="The new owner.")],
    output: OutputOption = Format.TEXT,
) -> None:
    """Hand a stream over at the offsets in its table, after an audit of it.

    To Flink: headrace commits nothing more, and a job starts. To headrace: the job stops with a
    savepoint, and `headrace ingest run` goes on.
    """
    from headrace.flink.handover import to_flink, to_headrace

    out = output_of(output)
    with _job(stream) as job:
        done = to_flink(job) if to is Side.FLINK else to_headrace(job)
    out.record({"stream": stream, "owner": done.owner, "epoch": done.epoch})
    out.say(f"{stream}  belongs to {done.owner} since epoch {done.epoch}")


def _show(out: Output, found: "JobStatus") -> None:
    facts = asdict(found)
    health = facts.pop("health") or {}
    out.record({**facts, **health})
    state = health.get("state", "-")
    out.say(
        f"{found.stream}  {found.owner}, epoch {found.epoch}  {state}  "
        f"checkpoint {health.get('checkpoint', '-')}, committed {health.get('committed', '-')}"
    )
