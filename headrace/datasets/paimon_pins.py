"""Pins what a version's tables were taken from in Paimon: a tag of its name keeps each such snapshot there."""

from dataclasses import dataclass

from headrace.datasets.lockfile import Lockfile
from headrace.definitions.properties import PAIMON
from headrace.errors import PaimonHistoryChangedError
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.token import Token
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.property_log import value_after
from headrace.tables.lake import LakeTable, OpenLake


@dataclass(frozen=True, kw_only=True)
class PaimonPin:
    """A tag of a Paimon table that keeps what `table` of the lake had taken when a version pinned it.

    The snapshot is known by its id and by when it was committed: after a rollback another one has the id.
    """

    table: str
    paimon: str
    snapshot_id: int
    committed_at_ms: int
    tag: str


def plan_pins(lake: OpenLake, lock: Lockfile) -> tuple[PaimonPin, ...]:
    """List the tags that a version needs in Paimon: of each pinned snapshot that has rows of an import.

    Raises:
        SnapshotNotFoundError, TableNotFoundError: If a pinned snapshot is gone.

    """
    found: list[PaimonPin] = []
    for pin in lock.pins:
        token = _token_of(lake.table(pin.table), pin.snapshot_id)
        if token is not None:
            found.append(
                PaimonPin(
                    table=pin.table,
                    paimon=token.table,
                    snapshot_id=token.snapshot_id,
                    committed_at_ms=token.committed_at_ms,
                    tag=pin.tag,
                )
            )
    return tuple(found)


def apply_pins(warehouse: PaimonWarehouse, pins: tuple[PaimonPin, ...]) -> None:
    """Set the tags; those that are there stay.

    Raises:
        PaimonTableNotFoundError: If the warehouse does not have a table.
        PaimonSnapshotNotFoundError: If a snapshot expired in Paimon; tags before it are set.
        PaimonHistoryChangedError: If another snapshot has its id by now; the same.
        PaimonTagExistsError: If a tag names another snapshot.

    """
    for pin in pins:
        table = warehouse.table(pin.paimon)
        _refuse_another(table, pin)
        table.create_tag(pin.tag, snapshot_id=pin.snapshot_id)


def _refuse_another(table: PaimonTable, pin: PaimonPin) -> None:
    tagged = table.tags().get(pin.tag)
    there = (*table.snapshots(), *(() if tagged is None else (tagged,)))
    for each in there:
        if each.id == pin.snapshot_id and each.committed_at_ms != pin.committed_at_ms:
            raise PaimonHistoryChangedError(
                pin.paimon,
                pin.table,
                snapshot_id=pin.snapshot_id,
                taken_at_ms=pin.committed_at_ms,
                found_at_ms=each.committed_at_ms,
            )


def _token_of(table: LakeTable, snapshot_id: int) -> Token | None:
    """Return what the newest import up to a snapshot had taken; a compaction since then changed no rows."""
    metadata = table.at(snapshot_id=snapshot_id).metadata
    history = Ancestry.of(table, metadata)
    said = value_after(history.back_from(snapshot_id), PAIMON)
    return None if said is None else Token.of({PAIMON: said})
