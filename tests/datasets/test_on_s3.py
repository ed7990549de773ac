"""Dataset versions of a lake on S3: their documents lie in the warehouse, and one publisher wins."""

from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.datasets.publish import publish
from headrace.datasets.recover import apply_recovery, plan_recovery
from headrace.datasets.relocate import plans_elsewhere
from headrace.datasets.verify import verify
from headrace.datasets.versions import (
    documents_of,
    file_plan_path,
    list_datasets,
    load_dataset,
    lockfile_path,
)
from headrace.errors import DatasetChangedError, VersionExistsError
from headrace.errors.reasons import DatasetReason
from headrace.tables.relocate import plan_relocation
from tests.datasets.conftest import SAMPLE_SET, River, river_in, sample, with_three_days
from tests.raising import refused


@pytest.fixture
def on_s3(s3_lake: Lake) -> River:
    return with_three_days(river_in(s3_lake))


def test_a_version_is_published_verified_and_opened_on_s3(on_s3: River, three_days: River) -> None:
    lock = publish(on_s3.lake, SAMPLE_SET).lock
    settings = on_s3.lake.settings
    path = lockfile_path(settings, "ctr", 1)
    assert path == f"{settings.warehouse_uri}/.datasets/ctr-v1.lock.json"
    assert documents_of(settings).read(path).decode() == lock.to_json()
    assert publish(on_s3.lake, SAMPLE_SET).outcome == "unchanged"
    assert verify(on_s3.lake, "ctr").rows == 9
    dataset = load_dataset(on_s3.lake, "ctr")
    assert {each.path[:5] for each in dataset.files.files} == {"s3://"}
    assert dataset.files.rows == 9
    assert lock.content_hash == publish(three_days.lake, SAMPLE_SET).lock.content_hash


def test_documents_that_are_gone_or_changed_are_named(on_s3: River) -> None:
    publish(on_s3.lake, SAMPLE_SET)
    store, settings = documents_of(on_s3.lake.settings), on_s3.lake.settings
    plan, lockfile = file_plan_path(settings, "ctr", 1), lockfile_path(settings, "ctr", 1)
    held = store.read(plan)
    store.delete(plan)
    with refused(DatasetChangedError, reason=DatasetReason.FILE_PLAN_GONE):
        verify(on_s3.lake, "ctr")
    store.write(plan, held)
    store.write(lockfile, store.read(lockfile) + b" ")
    with refused(DatasetChangedError, reason=DatasetReason.LOCKFILE_EDITED):
        verify(on_s3.lake, "ctr")
    store.delete(lockfile)
    with refused(DatasetChangedError, reason=DatasetReason.LOCKFILE_GONE):
        verify(on_s3.lake, "ctr")


def test_nothing_of_a_warehouse_on_s3_is_relocated(on_s3: River) -> None:
    publish(on_s3.lake, SAMPLE_SET)
    assert plan_relocation(on_s3.lake.settings).tables == ()
    assert plans_elsewhere(on_s3.lake.settings) == ()


def test_a_lockfile_of_another_lake_is_not_replaced(on_s3: River) -> None:
    store, path = documents_of(on_s3.lake.settings), lockfile_path(on_s3.lake.settings, "ctr", 1)
    store.write(path, b"the version 1 of a lake with another registry")
    with pytest.raises(VersionExistsError) as raised:
        publish(on_s3.lake, SAMPLE_SET)
    assert raised.value.version == 1
    assert store.read(path) == b"the version 1 of a lake with another registry"
    assert list_datasets(on_s3.lake) == []
    assert publish(on_s3.lake, SAMPLE_SET).lock.version == 2
    assert verify(on_s3.lake, "ctr").rows == 9


def test_lost_databases_are_made_again_from_what_is_on_s3(on_s3: River) -> None:
    lock, settings = publish(on_s3.lake, SAMPLE_SET).lock, on_s3.lake.settings
    on_s3.build(2, [sample(2, 0)])
    on_s3.lake.close()
    for database in (settings.catalog_file, settings.registry_file):
        for file in database.parent.glob(f"{database.name}*"):
            Path(file).unlink()
    plan = plan_recovery(settings)
    assert plan.search is not None
    assert [str(each.name) for each in plan.search.tables] == [
        "samples.ctr",
        "staging.clicks",
        "staging.impressions",
    ]
    assert plan.search.unreadable == ()
    apply_recovery(settings, plan)
    with Lake.open(settings) as lake:
        assert list_datasets(lake) == [lock]
        assert verify(lake, "ctr").rows == 9
        assert lake.table("samples.ctr").head().row_count == 10
