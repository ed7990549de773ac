"""`headrace flink`: streams, rows of window views and live samples that a job of Flink writes."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import StreamName
from headrace.cli.flink_jobs import is_table, job_of, stream_job, table_job, view_job
from headrace.cli.flink_statements import print_statements
from headrace.cli.gaps import GapOption, accepted_gaps
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, Output, OutputOption, as_text, output_of
from headrace.cli.waiting import waiting
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.flink.job_status import JobStatus
    from headrace.ingest.sources.holes import AcceptedGap

Subject = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A declared stream, or a window view or a table of samples as `a.b`, or a keyed table as "
        "`paimon:a.b`.",
    ),
]
View = Annotated[str, typer.Argument(metavar="VIEW", help="A declared window view.")]


class Side(StrEnum):
    """Who may write a stream."""

    FLINK = "flink"
    HEADRACE = "headrace"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app,
        "flink",
        help="Let Flink write streams, rows of window views and live samples: jobs from declarations.",
    )
    add(noun, "submit", submit, "flink submit views --print", "flink submit features.item_clicks")
    add(noun, "status", status, "flink status views")
    add(noun, "note", note, "flink note views")
    add(noun, "stop", stop, "flink stop views")
    add(noun, "restore", restore, "flink restore views")
    add(noun, "handover", handover, "flink handover views --to headrace")
    add(noun, "backfill", backfill, "flink backfill features.item_clicks")


def submit(
    name: Subject,
    *,
    show: Annotated[
        bool, typer.Option("--print", help="Print the statements, without secrets; start nothing.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Start the job of a stream that Flink owns, of a window view or of samples, unless it runs.

    Give a stream to Flink by `headrace flink handover STREAM --to flink`, which starts the job too. For
    a view the rows up to now are added first, and its job goes on from there. That of samples writes
    `<table>_live`, from what matures after now. That of a keyed table creates it, and begins with all
    rows that are there.
    """
    out = output_of(output)
    if show:
        print_statements(name, out)
    elif is_table(name):
        with table_job(name) as job, waiting(f"{name}: adding rows, and starting its job"):
            _tell(out, job.submit())
    else:
        with stream_job(name) as job, waiting(f"{name}: starting its job"):
            _tell(out, job.submit())


def status(
    name: Subject,
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show who owns a stream or a view, and whether its job is well.

    Ends with status 1 if the job is lost, restarts again and again, fails its checkpoints or commits
    nothing, leaves events out, or if there are two writers; the error names the root exception.
    """
    out = output_of(output)
    with job_of(name) as job:
        found = job.check()
    out.record(_facts(found))
    out.say(_line(found))


def note(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Take note of what the job of a stream wrote: positions, holes and the watermark.

    Each record is looked for in the topic, the table and the dead letters. Run it beside the job as
    often as the watermark should move.
    """
    from headrace.flink.note import take_note

    out = output_of(output)
    with stream_job(stream) as job, waiting(f"{stream}: reading what its topic has"):
        job.owned()
        found = take_note(job.lake, job.stream, complete=False)
    out.facts({"stream": stream, "records": found.records})
    out.say(f"{stream}  {found.records:,} records noted")


def stop(
    name: Subject, *, accept_gap: GapOption = None, output: OutputOption = Format.TEXT
) -> None:
    """Stop a job with a savepoint, and take note of all that it wrote into a stream.

    Records that the topic deleted before the job read them end it with `OffsetGapError`, the job being
    stopped; `--accept-gap` records them as lost, and `headrace flink restore` goes on after them.
    """
    from headrace.flink import recovery

    out = output_of(output)
    gaps = _gaps(name, accept_gap)
    facts: dict[str, object] = {"stream": name}
    if is_table(name):
        with table_job(name) as job, waiting(f"{name}: waiting for its savepoint") as job.say:
            owner = job.stop()
    else:
        with stream_job(name) as job, waiting(f"{name}: waiting for its savepoint") as job.say:
            owner, found = recovery.stop(job, accepted=gaps)
        facts["records"] = found.records
    out.facts({**facts, "savepoint": owner.savepoint})
    out.say(f"{name}  stopped at {owner.savepoint}")


def restore(
    name: Subject,
    *,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", help="Its location; the savepoint or the newest if not given."
        ),
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Start a job again from its savepoint or its newest checkpoint.

    A checkpoint that is older than what the table holds is refused: its rows would be there twice.
    """
    from headrace.flink import recovery

    out = output_of(output)
    with job_of(name) as job, waiting(f"{name}: starting its job"):
        _tell(out, recovery.restore(job, checkpoint=checkpoint))


def handover(
    name: Subject,
    *,
    to: Annotated[Side, typer.Option("--to", help="The new owner.")],
    without_note: Annotated[
        bool,
        typer.Option(
            "--without-note",
            help="To headrace, of a stream whose job was cancelled, also where no note can be taken.",
        ),
    ] = False,
    accept_gap: GapOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Hand a stream over at the offsets in its table, after an audit of it; or a view or samples.

    To Flink: headrace commits nothing more, and a job starts. To headrace: the job stops with a
    savepoint, and `headrace ingest run` goes on; nobody goes on with the rows of a view, or with live
    samples. If their job is lost, `--to flink` begins another at what is there.

    Where the topic was deleted or created again, what the job wrote cannot be noted: `--without-note`
    leaves it as it is, and nothing is ingested until `headrace ingest reset`.
    """
    from headrace.flink.handover import to_flink, to_headrace

    if without_note:
        if to is Side.FLINK or is_table(name):
            msg = "it is for a stream that goes `--to headrace`"
            raise typer.BadParameter(msg, param_hint="--without-note")
        if accept_gap:
            msg = "a gap is accepted by a note, and there is none"
            raise typer.BadParameter(msg, param_hint="--accept-gap")
        _hand_over_unnoted(name, output)
        return
    gaps = _gaps(name, accept_gap)
    out, what = output_of(output), f"{name}: handing it to {to}"
    if is_table(name):
        with table_job(name) as job, waiting(what) as job.say:
            found = job.hand_over() if to is Side.FLINK else job.release()
            owner = job.owner
        by, epoch = owner.by, owner.epoch
    else:
        with stream_job(name) as job, waiting(what) as job.say:
            hand = to_flink if to is Side.FLINK else to_headrace
            done = hand(job, accepted=gaps)
        by, epoch, found = done.owner, done.epoch, done.job
    out.facts({"stream": name, "owner": by, "epoch": epoch})
    out.say(f"{name}  belongs to {by} since epoch {epoch}")
    if found is not None:
        _say_faults(out, found)


def _gaps(name: str, texts: list[str] | None) -> "tuple[AcceptedGap, ...]":
    """Read the gaps that are accepted, which must be of a stream."""
    if texts and is_table(name):
        message = "a gap is one of a stream's topic"
        raise typer.BadParameter(message, param_hint="--accept-gap")
    return accepted_gaps(texts, [name])


def _hand_over_unnoted(name: str, output: Format) -> None:
    from headrace.flink.unnoted import to_headrace_unnoted

    out = output_of(output)
    with stream_job(name) as job, waiting(f"{name}: handing it to headrace"):
        why, owner = to_headrace_unnoted(job), job.owner
    record = {"stream": name, "owner": owner.by, "epoch": owner.epoch}
    out.facts({**record, "unnoted": None if why is None else str(why)})
    out.say(f"{name}  belongs to {owner.by} since epoch {owner.epoch}")
    if why is not None:
        reset = Remedy.run("ingest", "reset", name, advice="see what a reset would remove")
        out.say(f"  nothing is ingested until it is reset: {why}", remedy=reset)


def backfill(
    view: View,
    *,
    by: Annotated[
        Side, typer.Option("--by", help="Who computes: the lake's engine, or Flink as a batch.")
    ] = Side.HEADRACE,
    output: OutputOption = Format.TEXT,
) -> None:
    """Add the rows of a window view that are missing up to now, in one commit; its job must not run."""
    from headrace.clock import EPOCH, ONE_US
    from headrace.flink.history_job import backfill_by_flink

    out = output_of(output)
    with view_job(view) as job, waiting(f"{view}: adding rows"):
        missing = backfill_by_flink(job) if by == Side.FLINK else job.backfill()
        count = job.table.head().row_count - missing.table.row_count
    out.facts({"view": view, "rows": count, "until_us": missing.until_us})
    until = as_text(EPOCH + ONE_US * missing.until_us)
    out.say(f"{view}  {count:,} rows added, of all that was known by {until}")


def _tell(out: Output, found: "JobStatus") -> None:
    out.facts(_facts(found))
    out.say(_line(found))
    _say_faults(out, found)


def _say_faults(out: Output, found: "JobStatus") -> None:
    """Say what is wrong with a job that was just started: `status` ends with an error for it."""
    for name, what in (found.health.faults if found.health else {}).items():
        out.say(f"  {name}: {what}")


def _facts(found: "JobStatus") -> dict[str, object]:
    facts = asdict(found)
    health: dict[str, object] = facts.pop("health") or {}
    return facts | health


def _line(found: "JobStatus") -> str:
    head = f"{found.stream}  {found.owner}, epoch {found.epoch}"
    if found.health is None:
        return head
    repeats = found.health.late_repeats
    late = f", {repeats:,} late repeats left out" if repeats else ""
    at = f"checkpoint {found.health.checkpoint}, committed {found.health.committed}"
    return f"{head}  {found.health.state}  {at}{late}"
