"""Importers in processes of their own, so that they are killed for real.

To import pypaimon takes seconds: one process does it, and every importer is a fork of that one.
"""

import os
from pathlib import Path

from headrace.api import Lake
from headrace.config import Settings
from headrace.identifiers import TableName
from tests.processes import start
from tests.waiting import WAIT_S

TARGET = TableName.parse("raw.users")


def killed_at(settings: Settings, warehouse: Path, points: tuple[str, ...], ends: Path) -> None:
    """Import, or export, once for each crash point, one after the other; `ends` gets how each ended."""
    process = start(_each, settings, str(warehouse), points, str(ends))
    process.join(timeout=WAIT_S)
    assert process.exitcode == 0


def _each(settings: Settings, warehouse: str, points: tuple[str, ...], ends: str) -> None:
    from headrace.interop.paimon.client import PaimonWarehouse

    PaimonWarehouse(f"file://{warehouse}")  # imports the client
    found: list[str] = []
    for point in points:
        child = os.fork()
        if child == 0:
            os.environ["HEADRACE_CRASH_AT"] = point
            work = _export if point.startswith("paimon.after_export") else _import
            work(settings, warehouse)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found.append(f"{point} {-os.waitstatus_to_exitcode(status)}")
    Path(ends).write_text("\n".join(found))


def _import(settings: Settings, warehouse: str) -> None:
    from headrace.interop.paimon.client import PaimonWarehouse
    from headrace.interop.paimon.take import take_changes

    table = PaimonWarehouse(f"file://{warehouse}").table("k.users")
    with Lake.open(settings) as lake:
        take_changes(lake, table, TARGET, rows_per_commit=2)


def _export(settings: Settings, warehouse: str) -> None:
    from headrace.interop.paimon.client import PaimonWarehouse
    from headrace.interop.paimon.give import export_version

    with Lake.open(settings) as lake:
        head = lake.table(TARGET).head()
        export_version(lake, head, PaimonWarehouse(f"file://{warehouse}"), "out.users", tag="t")
