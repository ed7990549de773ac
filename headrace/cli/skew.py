"""`headrace skew`: compare what was served with what the training rule gives."""

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import sample_set_named, stream_named
from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.serving.skew import SkewReport

_DAY = ["%Y-%m-%d"]
_EXAMPLES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "skew", skew, "skew ctr served", "skew ctr served --from 2019-11-28 --to 2019-11-29")


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
    from headrace.serving.server.log import refuse_other
    from headrace.serving.skew import measure_skew
    from headrace.tables.lake import OpenLake

    settings, log_stream = stream_named(stream)
    refuse_other(log_stream)
    samples = sample_set_named(sample_set, settings)
    with OpenLake.existing(settings) as lake:
        version = lake.table(log_stream.table).head()
        days = [
            key
            for key in version.partitions
            if (first is None or key[0] >= first.date()) and (last is None or key[0] <= last.date())  # pyright: ignore[reportOperatorIssue]
        ]
        log = version.to_arrow(partitions=days)
        report = measure_skew(lake, samples, log)
    _show(report, output)
    if report.mismatches:
        raise typer.Exit(1)


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
        out.show(
            f"{each.request_id}/{each.row} at {each.at.isoformat()}: `{each.feature}` was "
            f"{_value(each.served)}, training has {_value(each.expected)}: {each.cause}"
        )


def _value(value: object) -> str:
    return "null" if value is None else repr(value)
