"""`headrace ingest status`: how far each stream is, also beside one whose table cannot be read."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import typer

from headrace.cli.declared import StreamNames, streams_named
from headrace.cli.failures import exit_status, say_error
from headrace.cli.fields import about_fields
from headrace.cli.output import Format, Output, OutputOption, as_text, output_of

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.stream import Stream
    from headrace.ingest.statuses import StreamAnswer


def status(streams: StreamNames = None, *, output: OutputOption = Format.TEXT) -> None:
    """Show how far each stream is: rows, dead letters, what waits, watermark, and its service.

    Of a stream whose source has a fault it shows what the tables say, of one whose table cannot be
    read that it is declared; then the error, and ends with its status. Brokers that do not answer
    are no fault of a stream.
    """
    from headrace.config import Settings
    from headrace.ingest.statuses import statuses
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    wanted = streams_named(streams, settings)
    with OpenLake.existing(settings) as lake:
        answers = list(statuses(lake, wanted).values())
    rows = [_row(settings, stream, answer) for stream, answer in zip(wanted, answers, strict=True)]
    columns = (
        "stream",
        "table",
        "rows",
        "dead_letters",
        "taken",
        "waiting",
        "watermark",
        "service",
    )
    out = output_of(output)
    out.table(rows, columns=columns, spare=("table", "taken"), empty="no stream is declared")
    _say_more(out, rows, wanted)
    errors = [each.error for each in answers if each.error is not None]
    for error in errors:
        say_error(error)
    if errors:
        raise typer.Exit(exit_status(*errors))


def _row(settings: "Settings", stream: "Stream", answer: "StreamAnswer") -> dict[str, Any]:
    """Return the facts of a stream; those that nothing says are None."""
    from headrace.ingest import progress
    from headrace.ingest.status import StreamStatus

    known: dict[str, Any] = (
        dict.fromkeys(each.name for each in fields(StreamStatus))
        if answer.status is None
        else asdict(answer.status)
    )
    taken = known.pop("sources_taken")
    said = progress.read(settings, stream.name)
    return {
        **known,
        "stream": stream.name,
        "unreachable": None if answer.silent is None else answer.silent.message,
        "error": None if answer.error is None else answer.error.message,
        "table": str(stream.table),
        "waiting": len(known["sources_waiting"]) if answer.is_whole else None,
        "taken": taken,
        "service": None if said is None else said.phase_now,
        "last_report": None if said is None else asdict(said),
    }


def _say_more(out: Output, rows: Sequence[dict[str, Any]], wanted: Sequence["Stream"]) -> None:
    for row, stream in zip(rows, wanted, strict=True):
        for line in _about_service(row["last_report"]):
            out.say(f"{stream.name}: {line}")
        for source in row["sources_unfinished"] or ():
            out.say(f"{stream.name}: the last line of `{source}` waits for its newline")
        for source in row["sources_skipped"] or ():
            out.say(f"{stream.name}: `{source}` is left out; `headrace ingest retry` takes it")
        for said in filter(None, (row["sources_missing"], row["unreachable"])):
            out.say(f"{stream.name}: {said}")
        for line in about_fields(
            row["undeclared_fields"] or {}, row["absent_fields"] or (), stream
        ):
            out.say(f"{stream.name}: {line}")


def _about_service(said: dict[str, Any] | None) -> list[str]:
    """What one should know of the service that follows a stream, or followed it last."""
    if said is None:
        return []
    from headrace.clock import time_at

    lines: list[str] = []
    if said["stretch"] > 1:
        lines.append(
            f"commits {said['stretch']} times as rarely: its table has {said['stretch_reason']}; "
            "maintenance was asked for"
        )
    if said["former_ended_ms"] is not None:
        ended = time_at(said["former_ended_ms"])
        lines.append(f"a service before ended at {as_text(ended)} UTC with {said['former_error']}")
    if said["error"]:
        lines.append(f"{said['phase']}: {said['error']}")
    behind = sum(said["lag"].values())
    if behind:
        lines.append(f"{behind:,} offsets behind, for {said['behind_s']:.0f} s")
    return lines
