"""`headrace dead-letters`: look at the records that were refused, take them again, or drop them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.declared import StreamName, StreamNames, stream_named, streams_named
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_text, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.ingest.letters import Choice

CodeOption = Annotated[str | None, typer.Option("--code", help="Only those with this error code.")]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="Only those of this file or topic.")
]
PartitionOption = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only those of this partition.")
]
OffsetOption = Annotated[int | None, typer.Option("--offset", min=0, help="Only that offset.")]
_SHOWN_BYTES = 200


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "dead-letters", help="Look at refused records, replay or drop them.")
    add(noun, "list", list_, "dead-letters list", "dead-letters list clicks --code wrong_type")
    add(
        noun,
        "show",
        show,
        "dead-letters show clicks --limit 3",
        "dead-letters show clicks --source clicks/a.jsonl --offset 7",
    )
    add(noun, "replay", replay, "dead-letters replay clicks --code wrong_type")
    add(
        noun,
        "drop",
        drop,
        "dead-letters drop clicks --code malformed",
        "dead-letters drop clicks --code malformed --apply",
    )


def list_(
    streams: StreamNames = None,
    *,
    code: CodeOption = None,
    source: SourceOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Group dead letters by stream and reason, with the newest of each.

    Without a stream it lists all that have dead letters, also of streams that are no longer declared.
    """
    from headrace.config import Settings
    from headrace.ingest.letters import groups_of, streams_with_letters
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    declared = streams_named(streams, settings) if streams else []
    choice = _choice(code=code, source=source)
    with OpenLake.existing(settings) as lake:
        named = [each.name for each in declared] or streams_with_letters(lake)
        having = set(streams_with_letters(lake)).intersection(named)
        found = [
            (name, each) for name in sorted(having) for each in groups_of(lake, name, choice=choice)
        ]
    rows: list[dict[str, Any]] = [
        {
            "stream": name,
            **asdict(each),
            "example": f"{each.example.source}:{each.example.partition}:{each.example.offset}",
            "first_bytes": _readable(each.first_bytes),
        }
        for name, each in found
    ]
    out = output_of(output)
    columns = ("stream", "code", "field", "count", "first_seen", "last_seen", "example")
    spare = ("first_seen", "field", "last_seen")
    out.table(rows, columns=(*columns, "first_bytes"), spare=spare, empty="no dead letters")
    if rows:
        most = max(rows, key=lambda row: row["count"])
        see = ("dead-letters", "show", most["stream"], "--code", most["code"])
        out.say(f"\n{Remedy.run(*see, advice='see the records')}")


def show(
    stream: StreamName,
    *,
    code: CodeOption = None,
    source: SourceOption = None,
    partition: PartitionOption = None,
    offset: OffsetOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 10,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show dead letters with their coordinates, reasons, keys, headers and values."""
    from headrace.ingest.letters import letters
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    choice = _choice(code=code, source=source, partition=partition, offset=offset)
    with OpenLake.existing(settings) as lake:
        found = letters(lake, declared, choice=choice, limit=limit)
    out = output_of(output)
    if output is Format.JSON:
        out.table([_as_json(row) for row in found], columns=())
        return
    for row in found:
        at = f"{row['_source']}:{row['_source_partition']}:{row['_source_offset']}"
        line = "" if row["source_line"] is None else f", line {row['source_line']}"
        out.show(f"{at}{line}  {row['error_code']}: {row['reason']}")
        out.show(
            f"  recorded {as_text(row['recorded_at'])}, contract version {row['contract_version']}"
        )
        if row["key"] is not None:
            out.show(f"  key {_readable(row['key'])}")
        for header in row["headers"] or ():
            value = "null" if header["value"] is None else _readable(header["value"])
            out.show(f"  header {_readable(header['name'].encode())}: {value}")
        out.show(f"  {_readable(row['raw'])}")
    if not found:
        out.say("no dead letter matches")


def replay(
    stream: StreamName,
    *,
    code: CodeOption = None,
    source: SourceOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Take dead letters again under the current contract; those that it accepts become rows, once."""
    from headrace.cli.fields import about_fields
    from headrace.ingest.replay import replay as replay_letters
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.existing(settings) as lake:
        done = replay_letters(lake, declared, choice=_choice(code=code, source=source))
    out = output_of(output)
    if output is Format.JSON:
        out.record(asdict(done))
        return
    left = ", ".join(f"{count:,} {why}" for why, count in sorted(done.refused.items()))
    out.say(
        f"{stream}: {done.rows:,} dead letters became rows in {done.commits:,} commits"
        + (f"; still refused: {left}" if left else "")
    )
    if done.undeclared_fields and done.absent_fields:  # a field may have had another name
        for line in about_fields(done.undeclared_fields, done.absent_fields, declared):
            out.say(line)


def drop(
    stream: StreamName,
    *,
    code: CodeOption = None,
    source: SourceOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Drop them; without it they are counted.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Drop dead letters for good. Without --apply it shows what would be dropped."""
    from headrace.ingest.drop import apply_drop, plan_drop
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.existing(settings) as lake:
        plan = plan_drop(lake, declared, choice=_choice(code=code, source=source))
        dropped = apply_drop(lake, plan, declared) if apply else 0
    out = output_of(output)
    if output is Format.JSON:
        out.record({**asdict(plan), "dropped": dropped})
        return
    reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(plan.reasons.items()))
    if plan.not_yet:
        out.say(f"{plan.not_yet:,} belong to a commit that is not complete, and stay")
    if apply:
        out.say(f"{stream}: {dropped:,} dead letters dropped")
    elif plan.count:
        out.say(f"{stream}: {plan.count:,} dead letters ({reasons}) would be dropped for good")
        out.say("add `--apply` to drop them")
    else:
        out.say(f"{stream}: no dead letter matches")


def _choice(
    *,
    code: str | None,
    source: str | None,
    partition: int | None = None,
    offset: int | None = None,
) -> "Choice":
    from headrace.ingest.letters import Choice

    return Choice(code=code, source=source, partition=partition, offset=offset)


def _readable(value: bytes) -> str:
    """Show the beginning of some bytes as text on one line."""
    from headrace.ingest.letters import readable

    return readable(value[:_SHOWN_BYTES]) + ("…" if len(value) > _SHOWN_BYTES else "")


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Write a letter as JSON: bytes as text, and in base64 where they are not UTF-8."""
    import base64

    def written(value: object) -> object:
        if isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        if isinstance(value, dict):
            return {str(name): written(each) for name, each in value.items()}
        return [written(each) for each in value] if isinstance(value, list) else value

    return {name: written(value) for name, value in row.items() if name != "row_ipc"}
