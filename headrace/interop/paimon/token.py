"""How far an import is: the snapshot it took last, committed with the rows. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.definitions.properties import OFFSETS_PREFIX, PAIMON
from headrace.errors import PaimonTargetError

FENCE = "paimon"  # the key of its offsets among a table's properties


@dataclass(frozen=True, kw_only=True)
class Token:
    """The snapshot of a Paimon table that an import took last, and when it was committed.

    `taken_as` says which rows the target has of it, and `reached_ms` the latest time of a commit
    among those that were taken. Both the id and the time have to be found again:
    after a rollback another snapshot has the id. `created_ms` is when the table was created: one that was
    dropped and made again has its own ids. It is 0 in what earlier versions wrote.
    """

    table: str
    taken_as: str
    snapshot_id: int
    committed_at_ms: int
    reached_ms: int
    created_ms: int = 0

    @property
    def source(self) -> str:
        """The source of the rows, as their coordinates have it."""
        return source_of(self.table)

    def to_properties(self) -> dict[str, str]:
        """Return the table property that holds it."""
        said = {
            "table": self.table,
            "as": self.taken_as,
            "snapshot_id": self.snapshot_id,
            "committed_at_ms": self.committed_at_ms,
            "reached_ms": self.reached_ms,
            "created_ms": self.created_ms,
        }
        return {PAIMON: json.dumps(said, sort_keys=True)}

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> "Token | None":
        """Read it from the properties of a table; None if nothing was imported yet."""
        text = properties.get(PAIMON)
        if text is None:
            return None
        said = json.loads(text)
        return cls(
            table=said["table"],
            taken_as=said["as"],
            snapshot_id=said["snapshot_id"],
            committed_at_ms=said["committed_at_ms"],
            reached_ms=said["reached_ms"],
            created_ms=said.get("created_ms", 0),
        )


def source_of(table: str) -> str:
    """Return the source of a Paimon table's rows, as their coordinates have it."""
    return f"paimon:{table}"


def consumer_of(target: str) -> str:
    """Return the name by which Paimon knows an import into a table that asks it to keep snapshots."""
    namespace, _, name = target.partition(".")
    return f"headrace-{namespace}-{name}"


def token_of(
    properties: Mapping[str, str], *, target: str, table: str, taken_as: str, has_rows: bool
) -> Token | None:
    """Return the token of a target that this import may continue; None to begin.

    Raises:
        PaimonTargetError: If the target has rows of something else.

    """
    token = Token.of(properties)
    if token is None:
        others = [name for name in properties if name.startswith(OFFSETS_PREFIX)]
        if has_rows or others:
            detail = "it has rows that no import of Paimon wrote"
            raise PaimonTargetError(target, detail)
        return None
    if (token.table, token.taken_as) != (table, taken_as):
        detail = f"it holds `{token.table}` as {token.taken_as}, not `{table}` as {taken_as}"
        raise PaimonTargetError(target, detail)
    return token


def offsets_of(token: Token | None) -> dict[str, int]:
    """Return the offsets that a target with this token has: the next snapshot, by source."""
    return {} if token is None else {token.source: token.snapshot_id + 1}
