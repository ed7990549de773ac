"""`headrace skew`: compare what was served with what the training rule gives."""

import datetime as dt
from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from headrace.serving.skew import SkewReport

_DAY = ["%Y-%m-%d"]
_EXAMPLES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("skew")(skew)


def skew(
    sample_set: Annotated[str, typer.Argument(metavar="SAMPLE_SET", help="What was served.")],
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream of the serving log.")],
    *,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=_DAY, help="First day of requests.")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=_DAY, help="Last day of requests.")
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Replay a serving log through the point-in-time rule, and name the cause of each difference.

    Ends with status 1 if there are differences.
    """
    from headrace.config import Settings
    from headrace.definitions.load import load_sample_sets, load_streams
    from headrace.serving.skew import measure_skew
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    sample_sets, streams = load_sample_sets(settings), load_streams(settings)
    _refuse_unknown(sample_set, sample_sets, what="sample set")
    _refuse_unknown(stream, streams, what="stream")
    with OpenLake.existing(settings) as lake:
        version = lake.table(streams[stream].table).head()
        days = [
            key
            for key in version.partitions
            if (first is None or key[0] >= first.date()) and (last is None or key[0] <= last.date())  # pyright: ignore[reportOperatorIssue]
        ]
        log = version.to_arrow(partitions=days)
        report = measure_skew(lake, sample_sets[sample_set], log)
    _show(report, output)
    if report.mismatches:
        raise typer.Exit(1)


def _refuse_unknown(name: str, known: Collection[str], *, what: str) -> None:
    if name not in known:
        listed = ", ".join(f"`{each}`" for each in known) or "none"
        raise DefinitionError((f"there is no {what} `{name}`; declared are {listed}",))


def _show(report: "SkewReport", output: Format) -> None:
    out = output_of(output)
    if output is Format.JSON:
        out.record(asdict(report) | {"mismatches": report.mismatches})
        return
    out.say(f"{report.rows:,} rows of `{report.sample_set}`, {report.mismatches:,} values differ")
    rows = [
        {
            "feature": each.feature,
            **{
                name: each.verdicts.get(name, 0)
                for name in ("equal", "different", "missing", "extra")
            },
            "causes": ", ".join(f"{cause} {count:,}" for cause, count in each.causes.items()),
        }
        for each in report.features
    ]
    out.table(rows, columns=("feature", "equal", "different", "missing", "extra", "causes"))
    for each in report.examples[:_EXAMPLES_SHOWN]:
        out.say(
            f"{each.request_id}/{each.row} at {each.at.isoformat()}: `{each.feature}` was "
            f"{each.served!r}, training has {each.expected!r}: {each.cause}"
        )
