"""`headrace samples`: build the days that need it, and show where one sample's values come from."""

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import Format, OutputOption, as_text, output_of, progress

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.sample_set import SampleSet
    from headrace.samples.build import BuildResult
    from headrace.samples.inspect import InspectedFeature, InspectedLabel, InspectedSample

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
    noun = typer.Typer(
        help="Join exposures to features and labels.", no_args_is_help=True, rich_markup_mode=None
    )
    noun.command("build")(build)
    noun.command("inspect")(inspect)
    app.add_typer(noun, name="samples")


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
    (sample_set,) = _named(name, settings)
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
            )
            out.say(str(planned))
            return
        with progress(name, steps=len(planned.reasons)) as step:
            result = apply_build(lake, planned, progress=lambda done: step(str(done.day)))
    out.say(str(result))
    if output is Format.JSON:
        out.record({**_facts(result), "notes": list(planned.notes)})


def inspect(
    sample_id: SampleId, *, set_: SetOption = None, output: OutputOption = Format.TEXT
) -> None:
    """Show one sample with the event time and known_at behind every feature value and label."""
    from headrace.config import Settings
    from headrace.samples.inspect import inspect_sample
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    tables = [sample_set.table for sample_set in _named(set_, settings)]
    with OpenLake.existing(settings) as lake:
        found = inspect_sample(lake, tables, sample_id)
    out = output_of(output)
    for line in sample_lines(found):
        out.say(line)
    if output is Format.JSON:
        out.record(asdict(found))


def sample_lines(sample: "InspectedSample") -> list[str]:
    """Write a sample for people: one line per value, aligned."""
    facts: list[tuple[str, object, str]] = [(name, value, "") for name, value in sample.columns]
    for feature in sample.features:
        source = _source(feature)
        facts += [
            (f"{feature.view}.{name}", value, source if n == 0 else "")
            for n, (name, value) in enumerate(feature.values)
        ]
    facts += [(label.name, label.value, _outcome(label)) for label in sample.labels]
    names = max((len(name) for name, _, _ in facts), default=0)
    values = max((len(_value(value)) for _, value, source in facts if source), default=0)
    at = f"{sample.event_time:%Y-%m-%d %H:%M:%S.%f}"
    state = f"{sample.label_state}, keep rate {sample.keep_rate:g}"
    lines = [f"sample {sample.sample_id} of {sample.sample_set} at {at}  {state}"]
    for name, value, source in facts:
        lines.append(f"  {name:<{names}} = {_value(value):<{values}}  {source}".rstrip())
    return lines


def _source(feature: "InspectedFeature") -> str:
    if feature.used is not None:
        used = f"row of {as_text(feature.used.event_time)}, known {as_text(feature.used.known_at)}"
        text = f"{used} (snapshot {feature.snapshot_id})"
    elif feature.expired is not None:
        text = f"the newest known row is of {as_text(feature.expired.event_time)}: expired"
    else:
        text = "no row was known"
    if feature.not_used is not None:
        moment = feature.not_used
        text += (
            f"    not used: row of {as_text(moment.event_time)}, known {as_text(moment.known_at)}"
        )
    return text


def _outcome(label: "InspectedLabel") -> str:
    happened = "" if label.at is None else f"at {as_text(label.at)}, "
    return (
        f"{label.state}  {happened}window closes {as_text(label.window_ends)}, "
        f"watermark {as_text(label.watermark)}"
    )


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


def _named(name: str | None, settings: "Settings") -> "list[SampleSet]":
    from headrace.definitions.load import load_sample_sets

    declared = load_sample_sets(settings)
    if name is None:
        return list(declared.values())
    if name not in declared:
        known = ", ".join(f"`{other}`" for other in declared) or "none"
        message = f"there is no sample set `{name}`; declared are {known}"
        raise typer.BadParameter(message, param_hint="NAME")
    return [declared[name]]
