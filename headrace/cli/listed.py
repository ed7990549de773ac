"""How lists of tables are shown where some cannot be read: those first, and the exit status says so."""

from collections.abc import Mapping, Sequence

import typer

from headrace.cli.failures import exit_status, say_error
from headrace.cli.output import Format, output_of
from headrace.errors import LakeError, Remedy


def show_tables(
    rows: Sequence[Mapping[str, object]],
    unreadable: Mapping[str, LakeError],
    *,
    columns: Sequence[str],
    output: Format,
    catalog: str | None = None,
    empty: str,
    remedy: Remedy | None = None,
    absent: LakeError | None = None,
) -> None:
    """Show tables, those that cannot be read first; any such ends the command with its status.

    Args:
        rows: The facts of each table that can be read.
        unreadable: Why the others cannot be read, by their names.
        columns: What text shows of the facts; an error has a column of its own.
        output: Text or JSON.
        catalog: The catalog that the command works on, if it is not the lake's own.
        empty: What to say where there are no tables.
        remedy: What to do then.
        absent: Why tables of another place are not shown at all.

    Raises:
        typer.Exit: If some cannot be read, or are not shown.

    """
    damaged = [
        {
            "table": name,
            "error": error.code,
            "message": error.message,
            "facts": error.facts,
            "remedy": error.remedy,
        }
        for name, error in unreadable.items()
    ]
    out = output_of(output, catalog=catalog)
    if damaged or rows or output is Format.JSON:
        shown = (*columns, "error") if damaged else columns
        out.table([*damaged, *rows], columns=shown, spare=("snapshot",))
    else:
        out.say(empty, remedy=remedy)
    errors = [*unreadable.values(), *([] if absent is None else [absent])]
    for error in errors:
        say_error(error)
    if errors:
        raise typer.Exit(exit_status(*errors))
