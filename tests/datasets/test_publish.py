"""Publishing pins exactly what was read, once, whoever else publishes or dies."""

import signal
import threading
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.lockfile import LabelCount
from headrace.datasets.publish import Publication, publish
from headrace.datasets.verify import verified_at, verify
from headrace.datasets.versions import list_datasets, load_dataset, lockfile_path
from headrace.errors import (
    DatasetChangedError,
    DatasetNotFoundError,
    DatasetReason,
    PublishReason,
    PublishRefusedError,
    VersionExistsError,
)
from headrace.registry import Registry
from headrace.tables import alter
from headrace.tables.refs.refs import tag, tags
from tests.datasets.conftest import (
    INPUT,
    SAMPLE_SET,
    SAMPLES,
    River,
    day_of,
    river_in,
    sample,
    with_three_days,
)
from tests.processes import CONTEXT, exit_code, start
from tests.raising import refused
from tests.waiting import WAIT_S


def test_mature_days_are_published_and_the_others_listed_as_left_out(three_days: River) -> None:
    done = publish(three_days.lake, SAMPLE_SET)
    lock = done.lock
    assert done.outcome == "published"
    assert (lock.name, lock.version, lock.rows, lock.filter_labels) == ("ctr", 1, 9, "mature")
    assert [day.day for day in lock.days] == [day_of(0), day_of(1)]
    assert [day.rows for day in lock.days] == [5, 4]
    assert lock.left_out == (day_of(2),)
    assert (lock.first_day, lock.last_day) == (day_of(0), day_of(1))
    assert lock.labels == (
        LabelCount(label="click", state="mature", value="positive", rows=4),
        LabelCount(label="click", state="mature", value="zero", rows=5),
    )
    assert lock.positives == 4
    assert lock.code == three_days.code()
    assert lock.columns["event_time"] == "timestamptz"


def test_days_that_nothing_has_touched_share_the_newest_inputs(three_days: River) -> None:
    newest = three_days.arrive()
    lock = publish(three_days.lake, SAMPLE_SET).lock
    assert [dict(day.inputs) for day in lock.days] == [{str(INPUT): newest}] * 2
    assert tags(three_days.lake.table(INPUT)) == {"ctr-v1": newest}
    assert tags(three_days.samples) == {"ctr-v1": lock.snapshot_id}


def test_every_distinct_snapshot_the_days_came_from_is_tagged(river: River) -> None:
    first = river.arrive()
    river.build(0, [sample(0, 0)], inputs={str(INPUT): first}, watermark=3_000)
    second = river.arrive(day=0)
    river.build(1, [sample(1, 0)], inputs={str(INPUT): second}, watermark=2_000)
    third = river.arrive(day=1)
    river.build(2, [sample(2, 0)], inputs={str(INPUT): third})
    lock = publish(river.lake, SAMPLE_SET).lock
    assert [day.inputs[str(INPUT)] for day in lock.days] == [first, second, third]
    assert tags(river.lake.table(INPUT)) == {"ctr-v1": first, "ctr-v1-2": second, "ctr-v1-3": third}
    assert lock.watermarks == {"staging.clicks": 2_000}
    assert {(pin.table, pin.tag, pin.snapshot_id) for pin in lock.pins} == {
        (str(INPUT), "ctr-v1", first),
        (str(INPUT), "ctr-v1-2", second),
        (str(INPUT), "ctr-v1-3", third),
        (str(SAMPLES), "ctr-v1", lock.snapshot_id),
    }


def test_a_published_version_opens_with_its_files(three_days: River) -> None:
    lock = publish(three_days.lake, SAMPLE_SET).lock
    dataset = load_dataset(three_days.lake, "ctr")
    assert dataset.lock == lock
    assert dataset.files.rows == 9
    assert [file.partition for file in dataset.files.files] == [("2019-11-24",), ("2019-11-25",)]
    assert dataset.version.snapshot_id == lock.snapshot_id
    assert list_datasets(three_days.lake) == [lock]
    path = lockfile_path(three_days.lake.settings, "ctr", 1)
    assert Path(path).read_text() == lock.to_json()


def test_publishing_the_same_content_again_changes_nothing(three_days: River) -> None:
    first = publish(three_days.lake, SAMPLE_SET)
    metadata = three_days.samples.head().metadata_location
    assert publish(three_days.lake, SAMPLE_SET) == Publication(first.lock, "unchanged")
    assert publish(three_days.lake, SAMPLE_SET, version=1) == Publication(first.lock, "unchanged")
    assert three_days.samples.head().metadata_location == metadata


def test_compaction_does_not_make_a_new_version(three_days: River) -> None:
    first = publish(three_days.lake, SAMPLE_SET)
    three_days.compact(three_days.samples)
    assert publish(three_days.lake, SAMPLE_SET) == Publication(first.lock, "unchanged")


def test_rebuilding_a_day_to_the_same_rows_does_not_make_a_new_version(three_days: River) -> None:
    first = publish(three_days.lake, SAMPLE_SET)
    three_days.build(1, [sample(1, n) for n in reversed(range(4))])
    assert publish(three_days.lake, SAMPLE_SET) == Publication(first.lock, "unchanged")


def test_changed_content_is_the_next_version(three_days: River) -> None:
    first = publish(three_days.lake, SAMPLE_SET).lock
    three_days.build(2, [sample(2, 0), sample(2, 1)])
    second = publish(three_days.lake, SAMPLE_SET)
    assert (second.outcome, second.lock.version, second.lock.rows) == ("published", 2, 11)
    assert second.lock.left_out == ()
    assert [day.content_hash for day in second.lock.days[:2]] == [
        day.content_hash for day in first.days
    ]
    assert [lock.version for lock in list_datasets(three_days.lake)] == [1, 2]
    assert verify(three_days.lake, "ctr", 1).rows == 9
    measures = three_days.lake.registry.measures_of_all()
    assert verified_at(measures, "ctr", 1) is not None
    assert verified_at(measures, "ctr", 2) is None  # nobody read it again yet


def test_a_version_with_other_content_is_refused(three_days: River) -> None:
    publish(three_days.lake, SAMPLE_SET)
    three_days.build(0, [sample(0, 0)])
    with pytest.raises(VersionExistsError) as raised:
        publish(three_days.lake, SAMPLE_SET, version=1)
    assert (raised.value.dataset, raised.value.version) == ("ctr", 1)
    assert publish(three_days.lake, SAMPLE_SET, version=7).lock.version == 7
    with pytest.raises(ValueError, match="version"):
        publish(three_days.lake, SAMPLE_SET, version=0)


def test_a_version_of_a_lake_that_shares_the_warehouse_keeps_its_file_plan(
    lake: Lake, tmp_path: Path
) -> None:
    shared = replace(lake.settings, declared_warehouse=f"file://{tmp_path / 'warehouse'}")
    here, there = (replace(shared, state_dir=tmp_path / name) for name in ("here", "there"))
    with Lake.open(here) as mine, Lake.open(there) as other:
        theirs = with_three_days(river_in(other))
        publish(with_three_days(river_in(mine)).lake, SAMPLE_SET)
        before = load_dataset(mine, "ctr").files
        theirs.build(0, [sample(0, n + 100) for n in range(5)])
        with refused(VersionExistsError, dataset="ctr", version=1):
            publish(other, SAMPLE_SET)
        assert load_dataset(mine, "ctr").files == before
        assert verify(mine, "ctr").rows == 9


def test_an_explicit_range_with_pending_labels_is_refused_unless_allowed(three_days: River) -> None:
    lake = three_days.lake
    with refused(PublishRefusedError, reason=PublishReason.LABELS_PENDING, days=("2019-11-26",)):
        publish(lake, SAMPLE_SET, first_day=day_of(1))
    assert publish(lake, SAMPLE_SET, first_day=day_of(1), last_day=day_of(1)).lock.rows == 4
    lock = publish(lake, SAMPLE_SET, first_day=day_of(1), allow_pending=True).lock
    assert (lock.rows, lock.filter_labels, lock.left_out) == (6, "any", ())
    assert LabelCount(label="click", state="pending", value="zero", rows=1) in lock.labels


def test_nothing_to_publish_is_said(river: River) -> None:
    with refused(PublishRefusedError, reason=PublishReason.NO_SAMPLES):
        publish(river.lake, SAMPLE_SET)
    river.build(0, [sample(0, 0, state="pending")])
    with refused(PublishRefusedError, reason=PublishReason.NO_DAY_IN_RANGE, days=("2019-11-24",)):
        publish(river.lake, SAMPLE_SET)
    with refused(PublishRefusedError, reason=PublishReason.NO_DAY_IN_RANGE, days=()):
        publish(river.lake, SAMPLE_SET, first_day=day_of(5))


def test_days_without_a_recorded_build_are_refused(river: River) -> None:
    river.build(0, [sample(0, 0)])
    river.build(0, [sample(0, 1)], on_record=False)
    with refused(PublishRefusedError, reason=PublishReason.BUILD_UNKNOWN, days=("2019-11-24",)):
        publish(river.lake, SAMPLE_SET)


def test_days_of_another_definition_are_refused(river: River) -> None:
    river.build(0, [sample(0, 0)])
    river.build(1, [sample(1, 0)], code="other")
    with refused(PublishRefusedError, reason=PublishReason.OTHER_DEFINITION, days=("2019-11-25",)):
        publish(river.lake, SAMPLE_SET)


def test_an_expired_input_is_refused_and_nothing_is_tagged(river: River) -> None:
    river.arrive()
    river.build(0, [sample(0, 0)], inputs={str(INPUT): 12345})
    with refused(PublishRefusedError, reason=PublishReason.INPUT_EXPIRED):
        publish(river.lake, SAMPLE_SET)
    assert tags(river.samples) == {}
    assert river.lake.registry.datasets() == []


def test_a_number_whose_tag_is_taken_is_abandoned(three_days: River) -> None:
    tag(three_days.lake.table(INPUT), "ctr-v1", snapshot_id=three_days.arrive())
    three_days.arrive()
    with refused(PublishRefusedError, reason=PublishReason.NOT_PINNED):
        publish(three_days.lake, SAMPLE_SET)
    assert list_datasets(three_days.lake) == []
    assert publish(three_days.lake, SAMPLE_SET).lock.version == 2


def test_verifying_names_what_changed(three_days: River) -> None:
    lake, settings = three_days.lake, three_days.lake.settings
    lock = publish(lake, SAMPLE_SET).lock
    three_days.compact(three_days.samples)
    three_days.build(0, [sample(0, 0)])
    assert (verify(lake, "ctr", 1).rows, verify(lake, "ctr", 1).files) == (9, 2)

    path = Path(lockfile_path(settings, "ctr", 1))
    path.write_text(lock.to_json().replace('"rows": 9', '"rows": 8'))
    with refused(DatasetChangedError, reason=DatasetReason.LOCKFILE_EDITED):
        verify(lake, "ctr", 1)
    path.write_text(lock.to_json())

    victim = Path(load_dataset(lake, "ctr", 1).files.files[1].path)
    good = victim.read_bytes()
    victim.write_bytes(good[:-1])
    with refused(DatasetChangedError, reason=DatasetReason.UNREADABLE, day="2019-11-25"):
        verify(lake, "ctr", 1)
    victim.write_bytes(good)
    verify(lake, "ctr", 1)

    table = lake.table(INPUT).iceberg()
    table.manage_snapshots().remove_tag("ctr-v1").commit()
    with refused(DatasetChangedError, reason=DatasetReason.TAG_GONE, table=str(INPUT)):
        verify(lake, "ctr", 1)


def test_a_flipped_bit_is_noticed_or_harmless(three_days: River) -> None:
    publish(three_days.lake, SAMPLE_SET)
    victim = Path(load_dataset(three_days.lake, "ctr", 1).files.files[1].path)
    good = victim.read_bytes()
    noticed = 0
    for at in range(4, 600, 13):
        victim.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            verify(three_days.lake, "ctr", 1)  # if it returns, every value was right
        except DatasetChangedError:
            noticed += 1
    assert noticed > 20


def test_verifying_notices_other_rows_in_the_same_file(three_days: River) -> None:
    publish(three_days.lake, SAMPLE_SET)
    victim = Path(load_dataset(three_days.lake, "ctr", 1).files.files[0].path)
    table = pa.parquet.read_table(victim, partitioning=None)
    index = table.schema.get_field_index("ctr_1d")
    changed = pa.array([0.25, *table["ctr_1d"].to_pylist()[1:]])
    pa.parquet.write_table(table.set_column(index, table.schema.field(index), changed), victim)
    with refused(DatasetChangedError, reason=DatasetReason.ROWS_CHANGED, day="2019-11-24"):
        verify(three_days.lake, "ctr", 1)


def test_a_new_column_of_the_table_does_not_change_a_published_version(three_days: River) -> None:
    publish(three_days.lake, SAMPLE_SET)
    schema = three_days.samples.head().schema.append(pa.field("later", pa.int64()))
    three_days.lake.create(SAMPLES, schema, partition_by=["day(event_time)"])
    assert verify(three_days.lake, "ctr", 1).rows == 9


@pytest.mark.parametrize(
    "change",
    [
        alter.RenameColumn("ctr_1d", to="click_rate"),
        alter.DropColumn("ctr_1d"),
        alter.AddColumn("later", type=pa.int64()),
    ],
    ids=["rename", "drop", "add"],
)
def test_a_published_version_is_as_it_was_whatever_became_of_its_columns(
    three_days: River, change: alter.Step
) -> None:
    publish(three_days.lake, SAMPLE_SET)
    before = load_dataset(three_days.lake, "ctr", 1).version.to_arrow().to_pylist()
    alter.alter(three_days.samples, change)
    assert verify(three_days.lake, "ctr", 1).rows == 9
    assert load_dataset(three_days.lake, "ctr", 1).version.to_arrow().to_pylist() == before


def test_columns_declared_approximate_are_left_out_of_the_hash(river: River) -> None:
    river.lake.create(
        SAMPLES,
        river.samples.head().schema,
        partition_by=["day(event_time)"],
        properties={"headrace.approximate": '["ctr_1d"]'},
    )
    river.build(0, [sample(0, 0, ctr_1d=0.1)])
    first = publish(river.lake, SAMPLE_SET)
    assert first.lock.approximate == ("ctr_1d",)
    river.build(0, [sample(0, 0, ctr_1d=0.2)])
    assert publish(river.lake, SAMPLE_SET) == Publication(first.lock, "unchanged")


def test_a_version_that_does_not_exist_is_named(three_days: River) -> None:
    with pytest.raises(DatasetNotFoundError) as raised:
        load_dataset(three_days.lake, "ctr")
    assert raised.value.known == ()
    publish(three_days.lake, SAMPLE_SET)
    with pytest.raises(DatasetNotFoundError) as raised:
        load_dataset(three_days.lake, "ctr", 2)
    assert raised.value.known == ("`ctr` v1",)


def test_one_of_many_claimants_wins(settings: Settings, river: River) -> None:
    won: list[int] = []
    barrier = threading.Barrier(6)

    def claim(number: int) -> None:
        registry = Registry(settings.registry_uri)
        barrier.wait()
        if registry.claim_dataset("ctr", 1, lockfile=str(number)):
            won.append(number)
        registry.close()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [record.lockfile for record in river.lake.registry.datasets("ctr")] == [str(won[0])]


def publish_once(settings: Settings, said: "Queue[str]") -> None:
    with Lake.open(settings) as lake:
        said.put(str(publish(lake, SAMPLE_SET).outcome))


@pytest.mark.parametrize("point", ["datasets.after_tags", "datasets.after_lockfile"])
def test_a_publisher_killed_midway_is_completed_by_the_next(
    three_days: River, settings: Settings, point: str
) -> None:
    said = CONTEXT.Queue()
    killed = start(publish_once, settings, said, crash_at=point)
    assert exit_code(killed) == -signal.SIGKILL
    assert list_datasets(three_days.lake) == []
    three_days.build(2, [sample(2, 0), sample(2, 1)])  # life goes on before anyone notices
    second = publish(three_days.lake, SAMPLE_SET)
    assert [lock.version for lock in list_datasets(three_days.lake)] == [1, 2]
    assert (second.lock.version, second.lock.rows) == (2, 11)
    assert (verify(three_days.lake, "ctr", 1).rows, verify(three_days.lake, "ctr", 2).rows) == (
        9,
        11,
    )


def test_two_publishers_at_once_make_one_version(three_days: River, settings: Settings) -> None:
    said = CONTEXT.Queue()
    running = [start(publish_once, settings, said) for _ in range(2)]
    outcomes = sorted(said.get(timeout=WAIT_S) for _ in running)
    assert [exit_code(process) for process in running] == [0, 0]
    assert outcomes == ["published", "unchanged"]
    with Lake.open(settings) as lake:
        assert [lock.version for lock in list_datasets(lake)] == [1]
        assert verify(lake, "ctr").rows == 9
