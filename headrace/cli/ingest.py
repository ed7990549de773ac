"""`headrace ingest`: take new records of streams into their tables, and show how far each is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.acknowledge import acknowledge
from headrace.cli.audit import audit
from headrace.cli.declared import StreamNames, are_streams_broken, streams_named
from headrace.cli.failures import EXIT_FAILED, exit_status, say_error
from headrace.cli.fields import about_fields
from headrace.cli.follow import (
    EveryOption,
    Following,
    MetricsOption,
    MibOption,
    RowsOption,
)
from headrace.cli.gaps import GapOption, accepted_gaps
from headrace.cli.ingest_status import status
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_text, output_of, progress
from headrace.cli.reset import reset
from headrace.cli.retry import retry, skip
from headrace.errors import LakeError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.stream import Stream
    from headrace.ingest.sources.holes import AcceptedGap
    from headrace.ingest.status import IngestResult
    from headrace.tables.lake import OpenLake


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "ingest", help="Take records of streams into their tables.")
    add(
        noun,
        "run",
        run,
        "ingest run",
        "ingest run clicks impressions --output json",
        "ingest run clicks --follow --every-s 5 --metrics-port 9100",
    )
    add(noun, "status", status, "ingest status", "ingest status clicks --output json")
    add(noun, "acknowledge", acknowledge, "ingest acknowledge clicks")
    add(noun, "audit", audit, "ingest audit clicks", "ingest audit clicks --sql")
    add(noun, "reset", reset, "ingest reset clicks", "ingest reset clicks --apply")
    add(noun, "skip", skip, "ingest skip clicks clicks/a.csv --apply")
    add(
        noun,
        "retry",
        retry,
        "ingest retry clicks clicks/a.csv",
        "ingest retry clicks clicks/a.csv --apply",
    )


def run(
    streams: StreamNames = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what comes until interrupted.")
    ] = False,
    every_s: EveryOption = None,
    rows: RowsOption = None,
    mib: MibOption = None,
    metrics_port: MetricsOption = None,
    accept_gap: GapOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Ingest everything new. Safe to kill and to run again; without anything new nothing changes.

    With --follow it goes on, and commits as the contract's `commit` says; an interrupt or a
    termination commits what was read and ends with status 0. A stream that fails does not stop the
    others.

    Ends with status 65 if a stream took records and all were refused, or the share of them that its
    contract names (`refused_share_limit`); they are kept as dead letters.
    """
    from headrace.config import Settings

    settings = Settings.load()
    wanted = streams_named(streams, settings)
    gaps = accepted_gaps(accept_gap, wanted)
    if follow:
        whole = next((stream.name for stream in wanted if stream.full_snapshot), None)
        if whole is not None:
            message = (
                f"`{whole}` has whole snapshots (`full_snapshot`); take them by runs without it"
            )
            raise typer.BadParameter(message, param_hint="--follow")
        shown = Following(output_of(output), every_s=every_s, rows=rows, mib=mib)
        shown.run(settings, wanted, metrics_port=metrics_port, gaps=gaps)
        return
    if (every_s, rows, mib, metrics_port) != (None,) * 4:
        message = "they are for streams that are followed; add `--follow`"
        raise typer.BadParameter(message, param_hint="--every-s, --rows, --mib, --metrics-port")
    _run_once(settings, wanted, gaps=gaps, output=output)
    if not streams and are_streams_broken(settings):  # every stream was meant
        raise typer.Exit(EXIT_FAILED)


def _run_once(
    settings: "Settings",
    wanted: "Sequence[Stream]",
    *,
    gaps: "Sequence[AcceptedGap]",
    output: Format,
) -> None:
    from headrace.tables.lake import OpenLake

    width = max((len(stream.name) for stream in wanted), default=0)
    out = output_of(output)
    results: list[IngestResult] = []
    errors: list[LakeError] = []
    with OpenLake.open(settings) as lake:
        for stream in wanted:
            try:
                results.append(_ingest(lake, stream, gaps=gaps))
            except LakeError as error:  # other streams go on; the command fails in the end
                errors.append(error)
                out.say(f"{stream.name:<{width}}  stopped")
            else:
                out.say(_summary(results[-1], width=width))
                for line in _remarks(results[-1], stream):
                    out.say(f"  {line}")
                errors += results[-1].skipped
                if results[-1].refusal is not None:
                    errors.append(results[-1].refusal)
    if output is Format.JSON:
        out.table([_facts(result) for result in results], columns=())
    if len(errors) == 1:
        raise errors[0]
    for error in errors:
        say_error(error)
    if errors:
        raise typer.Exit(exit_status(*errors))


def _remarks(result: "IngestResult", stream: "Stream") -> list[str]:
    """What one should know of a run beside its numbers."""
    from headrace.definitions.stream_times import doubt_of

    lines: list[str] = []
    if result.reasons:
        why = ", ".join(f"{count:,} {reason}" for reason, count in result.reasons.items())
        lines.append(f"refused: {why}")
    if result.missing:
        lines.append(f"warning: {result.missing}")
    if result.commits:
        lines += about_fields(result.undeclared_fields, result.absent_fields, stream)
        doubt = doubt_of(result.watermark, time_field=stream.time_field)
        lines += [f"warning: {doubt}"] if doubt and result.rows else []
    for source, others in result.same_content.items():
        same = ", ".join(f"`{other}`" for other in others)
        lines.append(f"warning: `{source}` has the content of {same}; its rows are there again")
    return lines


def _ingest(lake: "OpenLake", stream: "Stream", *, gaps: "Sequence[AcceptedGap]") -> "IngestResult":
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.open import open_source
    from headrace.ingest.status import status

    source = open_source(stream, lake.settings, accepted=gaps)
    waiting = len(status(lake, stream, source=source).sources_waiting)
    with progress(stream.name, steps=waiting) as step:
        return ingest(lake, stream, source=source, progress=lambda taken: step(taken.source))


def _summary(result: "IngestResult", *, width: int) -> str:
    watermark = f"watermark {as_text(result.watermark)}"
    if not result.commits:
        return f"{result.stream:<{width}}  nothing new  {watermark}"
    return (
        f"{result.stream:<{width}}  {result.rows:>9,} rows  {result.commits:>4,} commits  "
        f"{result.dead_letters:>4,} dead letters  {watermark}"
    )


def _facts(result: "IngestResult") -> dict[str, object]:
    return {
        "stream": result.stream,
        "table": str(result.table),
        "rows": result.rows,
        "dead_letters": result.dead_letters,
        "late_rows": result.late_rows,
        "commits": result.commits,
        "watermark": result.watermark,
        "same_content": dict(result.same_content),
        "reasons": result.reasons,
        "undeclared_fields": dict(result.undeclared_fields),
        "absent_fields": list(result.absent_fields),
        "missing": result.missing,
        "skipped": [error.to_dict() for error in result.skipped],
        "splits": [asdict(split) for split in result.splits],
    }
