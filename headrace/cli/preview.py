"""`headrace tables preview`: the first rows of a table, every value whole."""

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.lakes import CatalogOption, TableArgument, look_at_lake
from headrace.cli.output import Format, OutputOption, output_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.tables.lake import LakeTable
    from headrace.tables.version import TableVersion

_EXACT_MAX = 2**53  # beyond it a JSON number is not exact in every program


def preview(
    table: TableArgument,
    *,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1_000, help="How many at most.")] = 10,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="COLUMN", help="Only this one; may be repeated."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="REF", help="A branch, tag or snapshot id.")
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show the first rows of a table, read from as few files as hold them.

    The order is that of the files, which means nothing. Rows that other engines marked as deleted are
    left out. In JSON, integers beyond 2^53 are text and bytes are base64.
    """
    with look_at_lake(catalog) as lake:
        found = lake.table(table)
        version = found.head() if at is None else found.at(snapshot_id=_id_of(found, at))
        names = version.schema.names if columns is None else columns
        _refuse_unknown(names, version.schema.names)
        read = _first(version, names, limit=rows)
    out = output_of(output, catalog=catalog)
    if output is Format.JSON:
        out.data([_exact(row) for row in read], columns=())
        return
    shown = [{name: _plain(value) for name, value in row.items()} for row in read]
    out.data(shown, columns=tuple(names), empty=f"{table} has no rows")


def _id_of(table: "LakeTable", ref: str) -> int:
    from headrace.iceberg.updates import resolve

    return resolve(table.iceberg().metadata, ref, table=table.name)


def _refuse_unknown(names: "Sequence[str]", known: "Sequence[str]") -> None:
    from headrace.errors.known import said_of

    for name in names:
        if name not in known:
            message = f"there is no column `{name}`; {said_of(name, known, title='columns')}"
            raise typer.BadParameter(message, param_hint="--column")


def _first(version: "TableVersion", names: "Sequence[str]", *, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for batch in version.batches(columns=names):
        found += batch.slice(0, limit - len(found)).to_pylist()
        if len(found) >= limit:
            break
    return found


def _plain(value: object) -> object:
    """Keep numbers as they are written in SQL: ids are no amounts, and have no thousands."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _exact(value: Any) -> Any:  # noqa: ANN401  (a value of any column)
    if isinstance(value, dict):
        return {str(name): _exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_MAX:
        return str(value)
    return value
