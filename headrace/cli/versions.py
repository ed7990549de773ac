"""How a command names a dataset and one of its versions."""

from typing import Annotated

import typer

DatasetName = Annotated[
    str, typer.Argument(metavar="NAME", help="The dataset, named as its sample set.")
]
DatasetVersion = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="As `v1` or `1`; the newest if not given.")
]


def version_number(version: str | None) -> int | None:
    """Read a version as it is shown, `v1`, or as a number; None, for the newest, stays None.

    Raises:
        typer.BadParameter: If it is neither.

    """
    if version is None:
        return None
    digits = version.removeprefix("v")
    if not (digits.isascii() and digits.isdigit() and int(digits)):
        message = f"`{version}` is not a version; write it as `v1` or `1`"
        raise typer.BadParameter(message, param_hint="VERSION")
    return int(digits)
