"""What the commands of `headrace paimon` share: which warehouse, and which table of it."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.interop.paimon.client import PaimonWarehouse

PaimonTableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="`database.table` of the Paimon warehouse.")
]
WarehouseOption = Annotated[
    str | None,
    typer.Option(
        "--warehouse",
        metavar="LOCATION",
        help="Folder or `s3://` location of the Paimon tables; that of the settings if not given.",
    ),
]


def open_warehouse(location: str | None) -> "PaimonWarehouse":
    """Open the warehouse at `location`, or that of the settings."""
    from headrace.config import Settings
    from headrace.interop.paimon.client import PaimonWarehouse

    return PaimonWarehouse.open(Settings.load(), warehouse=location)
