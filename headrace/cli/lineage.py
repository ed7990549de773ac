"""`headrace lineage`: what each table was computed from, as its commits recorded it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import NotDeclaredError

if TYPE_CHECKING:
    from headrace.standing.flow import Edge

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="A table, a version as in 'ctr v1', the files of a stream, or 'online store'; all if "
        "not given.",
    ),
]

_KIND = "table, version, source or store in the lineage"


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "lineage", lineage, "lineage", "lineage samples.ctr", "lineage 'ctr v1'")


def lineage(name: Name = None, *, output: OutputOption = Format.TEXT) -> None:
    """Show what was read to compute what, at which snapshot, and how many commits came since.

    From files through tables to dataset versions and the online store, in the order of the flow. With
    a name it shows what leads to it and what comes of it. Nothing is inferred: it is what commits,
    lockfiles and the online store recorded. `—` is not known.
    """
    from headrace.config import Settings
    from headrace.definitions.load import inspect_declarations
    from headrace.serving.open import published_views
    from headrace.standing.edges import online_edges, source_edges, table_edges, version_edges
    from headrace.standing.flow import in_order
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    streams = list(inspect_declarations(settings).streams.values())
    with OpenLake.existing(settings) as lake:
        known = {str(each) for each in lake.names()}
        edges = [
            *source_edges(lake, streams),
            *(each for each in table_edges(lake) if each.target in known),
            *version_edges(lake),
            *online_edges(lake, published_views(settings)),
        ]
    if name is not None:
        edges = _about(name, edges)
    rows = [
        {
            "name": each.target,
            "reads": each.source,
            "newer_commits": each.commits,
            "snapshot": None if each.snapshot is None else str(each.snapshot),
        }
        for each in in_order(edges)
    ]
    columns = ("name", "reads", "newer_commits", "snapshot")
    empty = "no commit recorded an input yet"
    output_of(output).table(rows, columns=columns, spare=("snapshot",), empty=empty)


def _about(name: str, edges: "Sequence[Edge]") -> "list[Edge]":
    from headrace.standing.flow import reached

    known = tuple(dict.fromkeys(at for each in edges for at in (each.target, each.source)))
    if name not in known:
        raise NotDeclaredError(_KIND, name, known=known)
    wanted = reached(name, edges)
    return [each for each in edges if {each.target, each.source} <= wanted]
