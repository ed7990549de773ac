"""From sources to stream tables: read, decode, check the contract, commit rows and dead letters once.

Sources and decoders know no tables. `open_batch` alone commits, `run` decides when. Users call the room
itself, as in `headrace.ingest("clicks")`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from headrace.ingest.status import IngestResult
    from headrace.tables.lake import OpenLake


class _Ingest(ModuleType):
    """This package, which can be called: a function of its name would hide its modules."""

    def __call__(self, stream: str, *, lake: "OpenLake | None" = None) -> "IngestResult":
        """Take everything new of a declared stream; see `headrace.ingest.run.ingest`.

        Args:
            stream: Its name.
            lake: The one that the command line would take by default.

        Raises:
            DefinitionError: If no such stream is declared, or a declaration is broken.
            LakeError: See there, and `OpenLake.open`.

        """
        from headrace.definitions.load import declared_as, load_streams
        from headrace.ingest.run import ingest
        from headrace.tables.lake import OpenLake

        if lake is None:
            with OpenLake.open() as opened:
                return self(stream, lake=opened)
        return ingest(lake, declared_as(stream, load_streams(lake.settings), what="stream"))


ingest = cast("_Ingest", sys.modules[__name__])  # `headrace.ingest` is the package and its function
ingest.__class__ = _Ingest
