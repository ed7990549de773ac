"""Tables of the Paimon warehouse as external assets: what each is now, and a check that it can be taken."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.errors import LakeError
from headrace.flink.paimon_ties import ties_of
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.standing.facts import PaimonImport, PaimonSummary
from headrace.standing.paimon import read_paimon
from headrace.tables.lake import OpenLake
from orchestration.lib.keys import paimon_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource

CHECK = "can_be_taken"


@dg.definitions
def paimon_tables() -> dg.Definitions:
    """Define an asset for each table of the warehouse, where the settings name one that can be read."""
    settings = Settings.load()
    if not settings.paimon_warehouse:
        return dg.Definitions()
    try:
        names = PaimonWarehouse.open(settings).names()
    except LakeError:  # `headrace status` and the pages say why
        return dg.Definitions()
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                key=paimon_key(name),
                group_name="paimon",
                kinds={"paimon"},
                description=f"Paimon table `{name}`, which Flink writes. Dagster does not.",
            )
            for name in names
        ],
        asset_checks=[_check(name) for name in names],
        sensors=[paimon_now],
    )


def _check(name: str) -> dg.AssetChecksDefinition:
    key = paimon_key(name)

    @dg.asset_check(
        asset=key,
        name=CHECK,
        description=(
            f"Paimon table `{name}` can be read, and no snapshot of it expired before the lake took it."
        ),
    )
    def can_be_taken(lake: LakeResource) -> dg.AssetCheckResult:
        with lake.open() as opened:
            return recorded(opened, _result(opened, name), key=key, check=CHECK)

    return can_be_taken


def _result(lake: OpenLake, name: str) -> dg.AssetCheckResult:
    read = read_paimon(lake.settings, ties_of(lake).tokens, only=name)
    found = next(iter(read.tables), None)
    if found is None:
        why = read.unreadable[0].text if read.unreadable else "the warehouse has it no more"
        return dg.AssetCheckResult(passed=False, description=why)
    lost = [each.target for each in read.imports if each.is_lost]
    why = found.message or (f"snapshots that {', '.join(lost)} lacks expired" if lost else None)
    return dg.AssetCheckResult(
        passed=why is None, description=why, metadata=_metadata(found, read.imports)
    )


def _metadata(found: PaimonSummary, imports: Iterable[PaimonImport]) -> dict[str, Any]:
    return {
        "health": found.health,
        "records": found.records,
        "files": found.files.files,
        "unmerged_files": found.files.unmerged,
        "bytes": found.files.bytes,
        "snapshots": found.snapshots,
        "snapshot": found.snapshot_id,
        "committed_at": None if found.committed_at is None else found.committed_at.isoformat(),
        **{f"tag/{name}": at for name, at in found.tags.items()},
        **{f"not_taken/{each.target}": each.lacks for each in imports},
    }


@dg.sensor(
    name="paimon_tables",
    minimum_interval_seconds=60,
    description="What each Paimon table is now: its snapshots, tags and files, and what was not taken.",
)
def paimon_now(lake: LakeResource) -> dg.SensorResult:
    """Observe each table of the warehouse that can be read."""
    with lake.open() as opened:
        read = read_paimon(opened.settings, ties_of(opened).tokens)
    return dg.SensorResult(
        asset_events=[
            dg.AssetObservation(
                paimon_key(each.table),
                metadata=_metadata(each, [one for one in read.imports if one.table == each.table]),
            )
            for each in read.tables
            if not each.error
        ]
    )
