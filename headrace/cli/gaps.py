"""`--accept-gap`: lost records of a topic that a person accepts, each range exactly as the error named it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.definitions.stream import Stream
    from headrace.ingest.sources.holes import AcceptedGap

GapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-gap",
        metavar="PARTITION:FIRST-END",
        help="Go on without these lost offsets of a topic, and record them; may be repeated.",
    ),
]


def accepted_gaps(
    texts: Sequence[str] | None, streams: "Sequence[Stream | str]"
) -> "tuple[AcceptedGap, ...]":
    """Read the gaps that are accepted, which must be of one stream.

    Raises:
        typer.BadParameter: If one is written in another way, or more than one stream is named.

    """
    from headrace.ingest.sources.holes import AcceptedGap

    if not texts:
        return ()
    if len(streams) != 1:
        message = "a gap is one of a certain stream; name only that one"
        raise typer.BadParameter(message, param_hint="--accept-gap")
    try:
        return tuple(AcceptedGap.parse(text) for text in texts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--accept-gap") from error
