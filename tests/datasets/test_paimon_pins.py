"""A dataset version keeps in Paimon what its tables were taken from."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_features
from headrace.maintenance.compaction.compact import compact
from tests.interop.warehouses import Written, users
from tests.ui.factories import derive, publish

VIEW = TableName.parse("features.item_ctr")


@pytest.fixture
def written(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Written:
    """A Paimon table of whose three snapshots two were taken, compacted here, and pinned by a version."""
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(tmp_path / "paimon"))
    made = users(tmp_path / "paimon")
    made.put(1, 2, name="a")
    view = FeatureView(view=VIEW, entity=("id",), ttl=None)
    take_features(lake, made.table(), view)
    made.put(3, name="a")
    take_features(lake, made.table(), view)
    features = lake.table(VIEW)
    assert compact(features).commit is not None
    publish(lake, derive(lake, "samples.ctr", features), features, version=1)
    made.put(1, name="b")
    return made


def run(*words: str, ends: int = 0) -> Any:  # noqa: ANN401  (any JSON)
    done = CliRunner().invoke(make_app(), ["paimon", "pin", *words, "--output", "json"])
    assert done.exit_code == ends, done.output
    return json.loads(done.stdout if ends == 0 else done.stderr)


def test_the_snapshot_that_was_taken_gets_the_version_s_tag_once(written: Written) -> None:
    for _ in range(2):
        (pinned,) = run("ctr", "v1")
        assert pinned == {
            "table": "features.item_ctr",
            "paimon": "k.users",
            "snapshot_id": 2,
            "tag": "ctr-v1",
        }
    assert {name: each.id for name, each in written.table().tags().items()} == {"ctr-v1": 2}


def test_a_snapshot_that_expired_is_named_and_nothing_is_tagged(written: Written) -> None:
    written.expire(1, 2)
    assert run("ctr", ends=1)["code"] == "paimon-snapshot-not-found"
    assert written.table().tags() == {}
