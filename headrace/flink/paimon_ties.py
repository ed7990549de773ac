"""What the tables of a lake have to do with tables of Paimon: which they take, and of which their jobs write."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from headrace.definitions.properties import KEYED_BEGIN_PREFIX
from headrace.interop.paimon.token import Token
from headrace.tables.lake import OpenLake
from headrace.tables.readable import read_each


@dataclass(frozen=True, kw_only=True)
class Tie:
    """What one table has to do with Paimon.

    Args:
        token: What it took last of a Paimon table; None if it takes none.
        keyed: The keyed tables of its stream: the name of each, and when it was created.

    """

    token: Token | None = None
    keyed: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> Self:
        """Read it from the properties of a table."""
        keyed = (
            (name.removeprefix(KEYED_BEGIN_PREFIX), int(json.loads(said)["created_ms"]))
            for name, said in properties.items()
            if name.startswith(KEYED_BEGIN_PREFIX)
        )
        return cls(token=Token.of(properties), keyed=tuple(keyed))


@dataclass(frozen=True, kw_only=True)
class Ties:
    """What all tables have to do with Paimon.

    Args:
        tokens: What tables of the lake took of Paimon tables, by their names.
        keyed: The keyed tables of streams: the name of each, and when it was created.
        unread: The tables of the lake of which it is not known.

    """

    tokens: Mapping[str, Token] = field(default_factory=dict[str, Token])
    keyed: frozenset[tuple[str, int]] = frozenset()
    unread: tuple[str, ...] = ()

    @classmethod
    def among(cls, found: Iterable[tuple[str, Tie]], *, unread: Iterable[str]) -> Self:
        """Gather those of tables, by their names."""
        ties = dict(found)
        return cls(
            tokens={name: each.token for name, each in ties.items() if each.token is not None},
            keyed=frozenset(keyed for each in ties.values() for keyed in each.keyed),
            unread=tuple(unread),
        )


def ties_of(lake: OpenLake) -> Ties:
    """Read what every table has to do with Paimon; nothing without a warehouse."""
    if not lake.settings.paimon_warehouse:
        return Ties()
    read = read_each(lake, lambda table: (str(table.name), Tie.of(table.head().properties)))
    return Ties.among(read.found, unread=map(str, read.unreadable))
