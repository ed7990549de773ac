"""`headrace streams`: draft contracts from files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import DraftError

if TYPE_CHECKING:
    from headrace.config import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "streams", help="Draft the contracts of streams.")
    add(
        noun,
        "infer",
        infer,
        "streams infer 'ratings/*.csv.gz'",
        "streams infer ratings/2024.csv --name ratings --write",
    )


def infer(
    files: Annotated[
        str,
        typer.Argument(metavar="FILES", help="A pattern below the data folder, or a file there."),
    ],
    *,
    name: Annotated[
        str, typer.Option("--name", help="The stream's name; of the folder if not given.")
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write `lake/streams/NAME.yaml`; an existing one stays.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Draft a contract from files: format, names, types, event time and key, with what was guessed.

    Every record of the sample (the beginning, middle and end of up to 20 files) is a row under it.
    """
    from headrace.config import Settings
    from headrace.ingest.draft import text_of
    from headrace.ingest.infer import draft_of
    from headrace.ingest.sampling import sample_of

    settings = Settings.load()
    pattern, paths = _matching(settings, files)
    stream = name or _stream_name(pattern)
    draft = draft_of(sample_of(paths), stream=stream, table=f"raw.{stream}", files=pattern)
    if output is Format.JSON:
        output_of(output).record(draft.declared() | {"notes": draft.notes})
    else:
        typer.echo(text_of(draft), nl=False)
    if write:
        _write(settings.declarations / "streams" / f"{stream}.yaml", text_of(draft))


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
