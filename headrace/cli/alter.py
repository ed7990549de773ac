"""`headrace tables alter`: change a table's columns and partitioning, all at once or not at all."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.lakes import CatalogOption, TableArgument, open_lake
from headrace.cli.output import Format, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.tables.alter import AlterPlan, MoveColumn, Step

_MOVE = re.compile(r"(\S+) (?:(first)|(before|after) (\S+))")


def _option(name: str, metavar: str, text: str) -> typer.models.OptionInfo:
    return typer.Option(name, metavar=metavar, help=text)


def alter(
    table: TableArgument,
    *,
    drop: Annotated[list[str] | None, _option("--drop", "COLUMN", "Drop a column.")] = None,
    rename: Annotated[
        list[str] | None, _option("--rename", "COLUMN=NAME", "As in `--rename address.zip=code`.")
    ] = None,
    add: Annotated[
        list[str] | None,
        _option("--add", "COLUMN:TYPE", "Add an optional one, as in `--add address.city:string`."),
    ] = None,
    widen: Annotated[
        list[str] | None, _option("--widen", "COLUMN:TYPE", "As in `--widen clicks:long`.")
    ] = None,
    optional: Annotated[
        list[str] | None, _option("--optional", "COLUMN", "Allow null; there is no way back.")
    ] = None,
    move: Annotated[
        list[str] | None,
        _option(
            "--move", "'COLUMN first'", "Also `'COLUMN before OTHER'` and `'... after OTHER'`."
        ),
    ] = None,
    partition_by: Annotated[
        list[str] | None,
        _option("--partition-by", "TERM", "A whole new spec, as in `bucket(16, user_id)`."),
    ] = None,
    no_partitions: Annotated[
        bool, typer.Option("--no-partitions", help="Do not partition what is written from now on.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
    ] = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Change columns and partitioning. Shows the plan, and changes nothing without --apply.

    Options may be repeated. They are taken in the order listed below, so a dropped column's name is
    free for another. Columns inside of structs, lists and maps are named `address.city`,
    `items.element.price` and `labels.value.text`. No file is rewritten: older rows are read through
    the new columns.
    """
    from headrace.tables.alter import Repartition, apply_alter, plan

    steps = _steps(drop=drop, rename=rename, add=add, widen=widen, optional=optional, move=move)
    if partition_by and no_partitions:
        msg = "give `--partition-by` or `--no-partitions`, not both"
        raise typer.BadParameter(msg)
    if partition_by or no_partitions:
        steps.append(Repartition(tuple(partition_by or ())))
    if not steps:
        msg = "nothing is asked for; give at least one change, as in `--add note:string`"
        raise typer.BadParameter(msg)
    with open_lake(catalog) as lake:
        found = lake.table(table)
        planned = plan(found, *steps)
        if planned and apply:
            apply_alter(found, planned)
    _show(planned, applied=bool(planned) and apply, output=output)


def _show(plan: "AlterPlan", *, applied: bool, output: Format) -> None:
    out = output_of(output)
    if output is Format.JSON:
        facts = {"table": plan.table, "steps": [str(step) for step in plan.steps]}
        notes = {"notes": list(plan.notes), "changes": bool(plan), "applied": applied}
        out.record(facts | notes)
        return
    out.say(str(plan))
    if applied:
        out.say("done")
    elif plan:
        out.say("nothing was changed; add --apply to do it")


def _steps(
    *,
    drop: Sequence[str] | None,
    rename: Sequence[str] | None,
    add: Sequence[str] | None,
    widen: Sequence[str] | None,
    optional: Sequence[str] | None,
    move: Sequence[str] | None,
) -> "list[Step]":
    from headrace.definitions.type_text import parse_type
    from headrace.tables.alter import (
        AddColumn,
        DropColumn,
        MakeOptional,
        RenameColumn,
        WidenColumn,
    )

    steps: list[Step] = [DropColumn(path) for path in drop or ()]
    for text in rename or ():
        path, to = _halves(text, "=", option="--rename", like="COLUMN=NAME")
        steps.append(RenameColumn(path, to=to))
    for option, texts, kind in (("--add", add, AddColumn), ("--widen", widen, WidenColumn)):
        for text in texts or ():
            path, type_text = _halves(text, ":", option=option, like="COLUMN:TYPE")
            try:
                steps.append(kind(path, type=parse_type(type_text)))
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=option) from error
    steps.extend(MakeOptional(path) for path in optional or ())
    steps.extend(_move(text) for text in move or ())
    return steps


def _move(text: str) -> "MoveColumn":
    from headrace.tables.alter import MoveColumn

    match _MOVE.fullmatch(text.strip()):
        case None:
            msg = f"`{text}` is none of `COLUMN first`, `COLUMN before OTHER`, `COLUMN after OTHER`"
            raise typer.BadParameter(msg, param_hint="--move")
        case found if found[2]:
            return MoveColumn(found[1], where="first")
        case found:
            where = "before" if found[3] == "before" else "after"
            return MoveColumn(found[1], where=where, other=found[4])


def _halves(text: str, mark: str, *, option: str, like: str) -> tuple[str, str]:
    left, found, right = text.partition(mark)
    if not (found and left.strip() and right.strip()):
        msg = f"`{text}` is not of the form {like}"
        raise typer.BadParameter(msg, param_hint=option)
    return left.strip(), right.strip()
