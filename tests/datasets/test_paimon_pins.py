"""A dataset version keeps in Paimon what its tables were taken from."""

from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_features
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from tests.interop.commands import run
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


def test_the_snapshot_that_was_taken_gets_the_version_s_tag_once(written: Written) -> None:
    for _ in range(2):
        (pinned,) = run("pin", "ctr", "v1")
        assert pinned == {
            "table": "features.item_ctr",
            "paimon": "k.users",
            "snapshot_id": 2,
            "tag": "ctr-v1",
        }
    assert {name: each.id for name, each in written.table().tags().items()} == {"ctr-v1": 2}


def test_a_compaction_is_of_the_import_before_it_also_once_that_has_expired(
    written: Written, lake: Lake
) -> None:
    features = lake.table(VIEW)
    assert operations.expire(features, keep=0, before_ms=lake.now_ms() + 60_000)
    assert [each["snapshot_id"] for each in run("pin", "ctr")] == [2]
    assert set(written.table().tags()) == {"ctr-v1"}


def test_a_snapshot_that_expired_is_named_and_nothing_is_tagged(written: Written) -> None:
    written.expire(1, 2)
    assert run("pin", "ctr", ends=1)["code"] == "paimon-snapshot-not-found"
    assert written.table().tags() == {}


def test_another_snapshot_that_has_the_id_of_the_one_that_was_taken_is_not_tagged(
    written: Written,
) -> None:
    written.opened.rollback_to(1)
    written.put(1, name="c")
    assert run("pin", "ctr", ends=1)["code"] == "paimon-history-changed"
    assert written.table().tags() == {}
    written.opened.create_tag("ctr-v1", 2)
    assert run("pin", "ctr", ends=1)["code"] == "paimon-history-changed"
