"""Tables of Paimon on the pages: listed below the lake's own, and what takes them in the graph."""

from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_changes
from tests.interop.warehouses import users
from tests.ui.conftest import Open
from ui import data
from ui.graph import graph_of


def test_tables_of_paimon_are_listed_and_lead_to_what_takes_them(
    app: Open, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = users(tmp_path / "paimon")
    written.put(1, 2, name="a")
    written.table().create_tag("monday", snapshot_id=1)
    take_changes(lake, written.table(), TableName.parse("raw.users"))
    written.put(1, name="b")
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(written.folder))
    (row,) = app("tables").dataframe[-1].value.to_dict("records")
    expected = {
        "table": "k.users", "files": 2, "snapshots": 2, "tags": "monday (1)",
        "taken by": "raw.users", "not taken": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    graph = graph_of(data.lake_facts())
    (arrow,) = [each for each in graph.arrows if each.source == "paimon:k.users"]
    assert (arrow.target, arrow.behind, arrow.of) == ("raw.users", 1, "newer snapshot")
