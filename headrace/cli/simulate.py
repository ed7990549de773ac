"""`headrace simulate`: write a lakehouse folder of made-up traffic whose truth is known."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of, progress

if TYPE_CHECKING:
    from headrace.simulate.plan import SimulationPlan


class Target(Enum):
    """Where records go."""

    FILES = "files"
    KAFKA = "kafka"


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        "simulate",
        simulate,
        "simulate shop",
        "simulate shop --impressions 10000 --days 2 --seed 7",
    )


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write; must be new or empty.")],
    *,
    impressions: Annotated[int, typer.Option(min=1, help="How many impressions.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 1,
    days: Annotated[int, typer.Option(min=1, help="How much time the traffic spans.")] = 7,
    files_per_stream: Annotated[
        int | None,
        typer.Option(min=1, help="How many files each stream lands in; one an hour if not given."),
    ] = None,
    to: Annotated[
        Target, typer.Option(help="Where streams of JSON lines go: files, or new topics.")
    ] = Target.FILES,
    servers: Annotated[
        str, typer.Option(envvar="HEADRACE_KAFKA_SERVERS", help="The brokers of the topics.")
    ] = "",
    partitions: Annotated[int, typer.Option(min=1, help="How many each topic has.")] = 4,
    output: OutputOption = Format.TEXT,
) -> None:
    """Write a lakehouse folder of made-up traffic: declarations, data files, and the truth."""
    if to is Target.KAFKA and not servers:
        msg = "`--to kafka` needs `--servers` or HEADRACE_KAFKA_SERVERS"
        raise typer.BadParameter(msg)
    from headrace.simulate.plan import SimulationPlan

    try:
        plan = SimulationPlan(
            impressions=impressions, seed=seed, days=days, files_per_stream=files_per_stream
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    topics = (servers, partitions) if to is Target.KAFKA else None
    _write(folder, plan, topics, output=output)


def _write(
    folder: Path, plan: "SimulationPlan", to: tuple[str, int] | None, *, output: Format
) -> None:
    from headrace.simulate.run import Topics
    from headrace.simulate.run import simulate as write

    topics = None if to is None else Topics(servers=to[0], partitions=to[1])

    slices = sum(piece.impressions > 0 for piece in plan.slices())
    with progress("simulate", steps=slices) as step:
        done = write(
            folder, plan, on_progress=lambda so_far: step(f"{so_far:,} impressions"), topics=topics
        )
    rows = [{"stream": name, **vars(counts)} for name, counts in done.counts.items()]
    out = output_of(output)
    columns = ("stream", "records", "distinct", "duplicates", "late", "malformed")
    out.table(rows, columns=columns)
    out.say(f"\nnext: cd {folder} && headrace ingest run")
