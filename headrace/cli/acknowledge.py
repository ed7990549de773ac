"""`headrace ingest acknowledge`: a person has looked at a stream's dead letters."""

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.output import Format, OutputOption, as_text, output_of


def acknowledge(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Say that the dead letters so far were looked at: checks judge what comes from now on."""
    from headrace.ingest.recent import acknowledge as acknowledge_letters
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.open(settings) as lake:
        seen = acknowledge_letters(lake, declared)
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
