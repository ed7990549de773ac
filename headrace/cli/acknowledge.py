"""`headrace ingest acknowledge`: a person has looked at a stream's dead letters."""

from typing import Annotated

import typer

from headrace.cli.output import Format, OutputOption, as_text, output_of

StreamName = Annotated[str, typer.Argument(metavar="STREAM", help="Whose dead letters were seen.")]


def acknowledge(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Say that the dead letters so far were looked at: checks judge what comes from now on."""
    from headrace.config import Settings
    from headrace.definitions.load import load_streams
    from headrace.ingest.recent import acknowledge as acknowledge_letters
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    declared = load_streams(settings)
    if stream not in declared:
        known = ", ".join(f"`{other}`" for other in declared) or "none"
        message = f"there is no stream `{stream}`; declared are {known}"
        raise typer.BadParameter(message, param_hint="STREAM")
    with OpenLake.open(settings) as lake:
        seen = acknowledge_letters(lake, declared[stream])
    out = output_of(output)
    if output is Format.JSON:
        out.record({"stream": stream, "dead_letters": seen.dead_letters, "reasons": seen.reasons})
        return
    reasons = ", ".join(f"{code} {count:,}" for code, count in seen.reasons.items())
    out.say(
        f"{stream}: {seen.dead_letters:,} dead letters since {as_text(seen.since)} acknowledged"
        + (f" ({reasons})" if reasons else "")
        + "; they stay in dead_letters.records, and checks judge what comes from now on"
    )
