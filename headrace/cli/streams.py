"""The stream that a command works on, by its name."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.definitions.stream import Stream

StreamName = Annotated[str, typer.Argument(metavar="STREAM", help="A declared stream.")]


def declared_stream(name: str) -> "tuple[Settings, Stream]":
    """Return the settings and the stream of this name.

    Raises:
        typer.BadParameter: Listing the streams there are.

    """
    from headrace.config import Settings
    from headrace.definitions.load import load_streams

    settings = Settings.load()
    declared = load_streams(settings)
    if name not in declared:
        known = ", ".join(f"`{other}`" for other in declared) or "none"
        message = f"there is no stream `{name}`; declared are {known}"
        raise typer.BadParameter(message, param_hint="STREAM")
    return settings, declared[name]
