"""Read how the tables of the Paimon warehouse are, and how far the lake has taken them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headrace.config import Settings
from headrace.errors import LakeError
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.rows import TakenAs
from headrace.interop.paimon.summary import PaimonSummary, summaries
from headrace.interop.paimon.token import Token
from headrace.standing.facts import PaimonImport, Unreadable

WAREHOUSE = "Paimon"


@dataclass(frozen=True, kw_only=True)
class PaimonRead:
    """The tables of the warehouse and what takes them; `unreadable` says why they cannot be read."""

    tables: tuple[PaimonSummary, ...] = ()
    imports: tuple[PaimonImport, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


def read_paimon(
    settings: Settings,
    tokens: Mapping[str, Token],
    *,
    only: str | None = None,
    known: Iterable[PaimonSummary] = (),
) -> PaimonRead:
    """Read every table of the settings' warehouse; nothing without one.

    Args:
        settings: Of the lake.
        tokens: What tables of the lake took of Paimon tables, by their names.
        only: The Paimon table to look at; all by default.
        known: What was read before: the files of a snapshot that is still the newest are not counted
            again.

    """
    if not settings.paimon_warehouse:
        return PaimonRead()
    try:
        tables = summaries(PaimonWarehouse.open(settings), only=only, known=known)
    except LakeError as error:
        return PaimonRead(unreadable=(Unreadable.of(WAREHOUSE, error),))
    by_name = {each.table: each for each in tables}
    return PaimonRead(
        tables=tables,
        imports=tuple(
            _import(target, token, by_name[token.table])
            for target, token in sorted(tokens.items())
            if token.table in by_name
        ),
        unreadable=tuple(
            Unreadable(
                name=f"paimon:{each.table}", code=each.error, text=each.message, remedy=each.remedy
            )
            for each in tables
            if each.error
        ),
    )


def _import(target: str, token: Token, table: PaimonSummary) -> PaimonImport:
    newest, oldest = table.snapshot_id or 0, table.oldest_snapshot_id or 0
    is_gone = newest > token.snapshot_id and oldest > token.snapshot_id + 1
    return PaimonImport(
        table=table.table,
        target=target,
        taken_as=token.taken_as,
        snapshot_id=token.snapshot_id,
        lacks=max(0, newest - token.snapshot_id),
        is_lost=is_gone and token.taken_as != TakenAs.STATE,
    )
