"""Which lake a command works on: this one, or the tables of any PyIceberg catalog."""

import contextlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import CatalogOption

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from headrace.tables.lake import OpenLake


__all__ = ["CatalogOption", "TableArgument", "TargetOption", "look_at_lake", "open_lake"]

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="As in `raw.impressions`.")]
TargetOption = Annotated[
    int | None,
    typer.Option("--target-mib", min=1, help="Size to aim at, MiB; the lake's if not given."),
]


def open_lake(catalog: str | None = None) -> "contextlib.AbstractContextManager[OpenLake]":
    """Open this lake, which has to be there, or one over a catalog of PyIceberg's configuration.

    Raises:
        SettingsError: If there is no such catalog, or no settings.
        LakeNotFoundError: If there is no lake yet; nothing is created.
        CatalogUnavailableError: If the catalog cannot be reached or refuses.

    """
    from headrace.tables.lake import OpenLake

    return _opened(catalog, OpenLake.of)


def look_at_lake(catalog: str | None = None) -> "contextlib.AbstractContextManager[OpenLake]":
    """Open a lake as `open_lake` does, for a command that only reads: nothing is created."""
    from headrace.tables.lake import OpenLake

    return _opened(catalog, OpenLake.looking_at)


@contextlib.contextmanager
def _opened(
    catalog: str | None, lake_over: "Callable[[Catalog], OpenLake]"
) -> "Generator[OpenLake]":
    from headrace.tables.lake import OpenLake

    if catalog is None:
        with OpenLake.existing() as lake:
            yield lake
        return
    from headrace.tables.catalogs.declared import open_catalog

    with open_catalog(catalog) as opened, lake_over(opened) as lake:
        yield lake
