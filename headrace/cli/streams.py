"""`headrace streams`: draft contracts, and say what they would do to their tables."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import DraftError, LakeNotFoundError, TopicNotFoundError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.ingest.sampling import Sample

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app, "streams", help="Draft the contracts of streams, and compare them with their tables."
    )
    add(
        noun,
        "infer",
        infer,
        "streams infer 'ratings/*.csv.gz'",
        "streams infer ratings/2024.csv --name ratings --write",
        "streams infer impressions",
    )
    add(noun, "diff", diff, "streams diff impressions", "streams diff impressions --output json")


def infer(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILES|TOPIC",
            help="A pattern below the data folder, or a file there; else a topic of the profile's brokers.",
        ),
    ],
    *,
    name: Annotated[
        str, typer.Option("--name", help="The stream's name; of the folder or topic if not given.")
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write `lake/streams/NAME.yaml`; an existing one stays.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Draft a contract from files or a topic: format, names, types, event time and key, with what was guessed.

    Every record of the sample is a row under it: the beginning, middle and end of up to 20 files, or of
    each partition of a topic of JSON or Avro values.
    """
    from headrace.config import Settings
    from headrace.ingest.draft import text_of
    from headrace.ingest.infer import draft_of

    settings = Settings.load()
    sample, named = _sample(settings, source)
    stream = name or _stream_name(named)
    draft = draft_of(sample, stream=stream, table=f"raw.{stream}", files=named)
    if output is Format.JSON:
        output_of(output).record(draft.declared() | {"notes": draft.notes})
    else:
        typer.echo(text_of(draft), nl=False)
    if write:
        _write(settings.declarations / "streams" / f"{stream}.yaml", text_of(draft))


def _sample(settings: "Settings", source: str) -> "tuple[Sample, str]":
    """Read a sample of files; of a topic where no file matches and the profile names brokers."""
    from headrace.ingest.sampling import sample_of
    from headrace.ingest.topic_sampling import topic_sample

    try:
        pattern, paths = _matching(settings, source)
    except DraftError as no_file:
        if settings.kafka is None or not _TOPIC.fullmatch(source):
            raise
        try:
            return topic_sample(source, settings), source
        except TopicNotFoundError as error:
            detail = f"{no_file.detail}, and there is no such topic at `{error.servers}`"
            raise DraftError(source, detail=detail) from error
    return sample_of(paths), pattern


def diff(stream: StreamName, *, output: OutputOption = Format.TEXT) -> None:
    """Show what a contract as declared now would do to its table and to records; changes nothing.

    Columns that a commit would add, widen or make optional, and changes that no commit can make; which
    committed rows it would refuse if they came again, and which dead letters it would take; of a topic,
    which records of a sample it would refuse, and which fields it does not declare. Reads all rows. Ends with status 1 if the table cannot follow the contract.
    """
    from headrace.ingest.difference import difference, difference_without_lake, lines_of
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    try:
        with OpenLake.existing(settings) as lake:
            found = difference(lake, declared)
    except LakeNotFoundError:  # a first draft is compared with its topic
        found = difference_without_lake(settings, declared)
    out = output_of(output)
    out.facts(asdict(found))
    if found.is_first:
        out.say(f"{found.table} is not there yet; the first commit creates it")
    for line in lines_of(found):
        out.show(line)
    if not found.columns:
        out.say(f"{found.table} has the columns of the contract")
    if found.impossible:
        raise typer.Exit(1)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        detail = "it is there already; give another `--name`"
        raise DraftError(str(path), detail=detail) from None
    typer.echo(f"written to {path}; next: headrace ingest run {path.stem}", err=True)


def _matching(settings: "Settings", files: str) -> tuple[str, list[Path]]:
    """Return a pattern below the data folder, and what matches it."""
    data_dir = settings.data_dir.absolute()
    given = Path(files).absolute()
    if given.is_relative_to(data_dir) and given.exists():
        files = str(given.relative_to(data_dir)) + ("/*" if given.is_dir() else "")
    elif given.exists() and not (data_dir / files).exists():
        detail = f"it is not below the data folder `{data_dir}`; put or link it there"
        raise DraftError(files, detail=detail)
    elif (data_dir / files).is_dir():
        files = f"{files.rstrip('/')}/*"
    try:
        found = [each for each in sorted(data_dir.glob(files)) if each.is_file()]
    except (NotImplementedError, ValueError):  # of an absolute or an empty pattern
        found = []
    kept = [each for each in found if not each.name.startswith((".", "_"))]
    if not kept:
        raise DraftError(files, detail=f"nothing below `{data_dir}` matches")
    return files, kept


def _stream_name(pattern: str) -> str:
    parts = [part for part in Path(pattern).parts if "*" not in part]
    plain = "".join(c if c.isalnum() else "_" for c in (parts[-1] if parts else "events").lower())
    stem = plain.partition("_csv")[0].partition("_json")[0].partition("_parquet")[0].strip("_")
    return stem if stem[:1].isalpha() else f"s_{stem}"
