"""Kill -9 of an importer at every write boundary: the next one goes on without loss or double."""

import json
import signal
from pathlib import Path

from headrace.api import Lake
from headrace.crash_points import CRASH_POINTS
from headrace.definitions.properties import PAIMON_EXPORT
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.give import export_version
from headrace.interop.paimon.take import take_changes
from tests.interop.importers import TARGET, killed_at
from tests.interop.warehouses import refuses_repeats, replayed, rows_of, users

_POINTS = tuple(
    f"{point}:{passage}"
    for point in CRASH_POINTS
    if point.startswith(("paimon.", "commit."))
    for passage in ((1,) if point == "paimon.after_export" else (1, 2))
)


def test_an_importer_that_is_killed_again_and_again_takes_every_change_once(
    lake: Lake, tmp_path: Path
) -> None:
    written = users(tmp_path / "paimon")
    expected: dict[int, str] = {}
    for at in range(30):
        written.put(at % 7, at % 5 + 10, name=f"n{at}")
        expected |= {at % 7: f"n{at}", at % 5 + 10: f"n{at}"}
        if at % 4 == 3:
            written.remove(at % 7)
            del expected[at % 7]
    ends = tmp_path / "ends.txt"
    killed_at(lake.settings, written.folder, _POINTS, ends)
    assert ends.read_text().splitlines() == [f"{p} {int(signal.SIGKILL)}" for p in _POINTS]
    before = len(rows_of(lake, str(TARGET), "id"))
    assert 0 < before < 67  # they committed some, and not all
    take_changes(lake, written.table(), TARGET)
    assert len(rows_of(lake, str(TARGET), "id")) == 67
    refuses_repeats(lake, str(TARGET))
    assert replayed(lake, str(TARGET)) == expected

    exported = PaimonWarehouse(f"file://{written.folder}").table("out.users")
    (snapshot,) = exported.snapshots()
    assert (snapshot.rows, exported.tags()) == (before, {})
    said = json.loads(snapshot.properties[PAIMON_EXPORT])
    version = lake.table(TARGET).at(snapshot_id=int(said["snapshot_id"]))
    warehouse = PaimonWarehouse(f"file://{written.folder}")
    again = export_version(lake, version, warehouse, "out.users", tag="t")
    assert not again.written
    assert exported.tags() == {"t": snapshot}
