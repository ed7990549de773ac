"""`headrace samples`: build the days that need it, and show where one sample's values come from."""

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import sample_set_named, sample_sets_named
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_text, output_of, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.samples.build import BuildResult
    from headrace.samples.inspect import (
        InspectedFeature,
        InspectedLabel,
        InspectedSample,
        Moment,
    )

SetName = Annotated[str, typer.Argument(metavar="NAME", help="The sample set.")]
SampleId = Annotated[str, typer.Argument(metavar="ID", help="The exposure's id.")]
SetOption = Annotated[
    str | None, typer.Option("--set", help="Look in this sample set only; else in all.")
]
DayOption = Annotated[
    list[dt.datetime] | None,
    typer.Option("--day", formats=["%Y-%m-%d"], help="Build only this day; repeatable."),
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Show what would be built and why; build nothing.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "samples", help="Join exposures to features and labels.")
    add(
        noun,
        "build",
        build,
        "samples build ctr --plan",
        "samples build ctr",
        "samples build ctr --day 2019-11-27",
    )
    add(noun, "inspect", inspect, "samples inspect bts/all/4211", "samples inspect 7 --set ctr")


def build(
    name: SetName,
    *,
    day: DayOption = None,
    plan: PlanOption = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Build the days whose inputs changed. Safe to kill and to run again."""
    from headrace.config import Settings
    from headrace.samples.build import apply_build
    from headrace.samples.plan import plan_build
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    sample_set = sample_set_named(name, settings)
    days = None if day is None else [moment.date() for moment in day]
    out = output_of(output)
    with OpenLake.existing(settings) as lake:
        planned = plan_build(lake, sample_set, days=days)
        for note in planned.notes:
            out.say(f"warning: {note}")
        if plan:
            out.table(
                [{"day": found, "reason": reason} for found, reason in planned.reasons.items()],
                columns=("day", "reason"),
                empty="no day needs it",
            )
            out.say(str(planned))
            return
        with progress(name, steps=len(planned.reasons)) as step:
            result = apply_build(lake, planned, progress=lambda done: step(str(done.day)))
    out.say(str(result))
    out.facts({**_facts(result), "notes": list(planned.notes)})


def inspect(
    sample_id: SampleId, *, set_: SetOption = None, output: OutputOption = Format.TEXT
) -> None:
    """Show one sample with the event time and known_at behind every feature value and label."""
    from headrace.config import Settings
    from headrace.samples.inspect import inspect_sample
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    sets = sample_sets_named(None if set_ is None else [set_], settings)
    tables = [sample_set.table for sample_set in sets]
    with OpenLake.existing(settings) as lake:
        found = inspect_sample(lake, tables, sample_id)
    out = output_of(output)
    for line in sample_lines(found):
        out.show(line)
    out.facts(asdict(found))


def sample_lines(sample: "InspectedSample") -> list[str]:
    """Write a sample for people: a line for each value, below the row that it comes from."""
    at = f"{sample.event_time:%Y-%m-%d %H:%M:%S.%f}"
    lines = [
        f"sample {sample.sample_id} of {sample.sample_set} at {at}",
        *_pairs([("label state", sample.label_state), ("keep rate", f"{sample.keep_rate:g}")]),
        *_pairs(sample.columns),
    ]
    for feature in sample.features:
        lines += [f"{feature.view} at snapshot {feature.snapshot_id}", *_pairs(_source(feature))]
        lines += _pairs(feature.values)
    for label in sample.labels:
        lines += [f"{label.name} = {_value(label.value)}  {label.state}", *_pairs(_outcome(label))]
    return lines


def _pairs(pairs: "Sequence[tuple[str, object]]") -> list[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name:<{width}}  {_value(value)}" for name, value in pairs]


def _source(feature: "InspectedFeature") -> list[tuple[str, object]]:
    if feature.logged:
        row = "no row" if feature.used is None else _moment(feature.used)
        return [("as served, of", row)]
    if feature.used is not None:
        found: list[tuple[str, object]] = [("used", _moment(feature.used))]
    elif feature.expired is not None:
        found = [("used", "none"), ("expired", _moment(feature.expired))]
    else:
        found = [("used", "none: no row was known")]
    if feature.not_used is not None:
        found.append(("not used", _moment(feature.not_used)))
    return found


def _moment(row: "Moment") -> str:
    gone = ", which says that it was removed" if row.removed else ""
    return f"row of {as_text(row.event_time)}, known {as_text(row.known_at)}{gone}"


def _outcome(label: "InspectedLabel") -> list[tuple[str, object]]:
    happened: list[tuple[str, object]] = [] if label.at is None else [("at", as_text(label.at))]
    return [
        *happened,
        ("window closes", as_text(label.window_ends)),
        ("watermark", as_text(label.watermark)),
    ]


def _value(value: object) -> str:
    return "null" if value is None else str(value)


def _facts(result: "BuildResult") -> dict[str, object]:
    return {
        "table": result.table,
        "rows": result.rows,
        "positives": result.positives,
        "leaks": result.leaks,
        "built": [asdict(done) for done in result.built],
        "unchanged": list(result.unchanged),
    }
