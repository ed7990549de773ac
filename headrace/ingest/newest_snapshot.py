"""Which whole snapshot of a stream was taken last, as its table says, and the guard of the next one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from pyiceberg.table import Table

from headrace.definitions.properties import WHOLE_SNAPSHOT_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import FencedError
from headrace.ingest.owner import OwnerGuard


@dataclass(frozen=True, kw_only=True)
class NewestSnapshot:
    """The newest file of whole snapshots; empty before the first one.

    `since_us` is at most the event time of each of its rows, in epoch microseconds.
    """

    source: str = ""
    since_us: int = 0

    @classmethod
    def read(cls, properties: Mapping[str, str], *, stream: str) -> Self:
        """Read what the table of the stream says."""
        return cls(**json.loads(properties.get(WHOLE_SNAPSHOT_PREFIX + stream, "{}")))

    def note(self, *, stream: str) -> dict[str, str]:
        """Return it as an entry of table properties."""
        return {WHOLE_SNAPSHOT_PREFIX + stream: json.dumps(asdict(self), sort_keys=True)}


class NewestGuard(OwnerGuard):
    """Refuses a snapshot that was compared with another one than the newest: what is gone would differ."""

    def __init__(self, stream: Stream, *, newest: NewestSnapshot, begun: int | None = None) -> None:
        super().__init__(stream, begun=begun)
        self._name, self._newest = stream.name, newest

    def __call__(self, base: Table) -> None:
        """Look at the table that a commit is about to replace.

        Raises:
            FencedError: If another ingester took a snapshot since, or the stream was reset.
            StreamOwnedError: If the stream belongs to Flink.

        """
        super().__call__(base)
        found = NewestSnapshot.read(base.properties, stream=self._name)
        if found != self._newest:
            table = ".".join(base.name())
            raise FencedError(table, expected=self._newest.source or "none", found=found.source)
