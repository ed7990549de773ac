"""A published version computes again to the same hash, whatever happened to its inputs since."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.datasets.publish import publish
from headrace.datasets.rebuild import rebuild, rebuild_locked
from headrace.datasets.verify import verify
from headrace.datasets.versions import find_lockfile
from headrace.errors import DatasetChangedError, DatasetReason, PublishReason, PublishRefusedError
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.samples.build import build
from headrace.tables.alter import AddColumn, DropColumn, RenameColumn, alter
from tests.raising import refused
from tests.samples.factories import Shop, at, day, sample_set, settings_in


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Three built days of forty exposures each; the labels of the last are pending."""
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        for n in range(3):
            shop.show(*((f"d{n}/{i}", at(i / 2, day=n), i % 7) for i in range(40)))
            shop.rate(*((i % 7, at(i, day=n), at(i + i % 3, day=n), i / 64) for i in range(20)))
        taps = [
            (f"d{n}/{i}", at(i / 2 + 0.1, day=n), at(i, day=n), i) for n in (0, 1) for i in (3, 9)
        ]
        shop.tap(*taps, watermark=at(2, day=2))
        build(lake, sample_set())
        yield shop


def everything_happens(shop: Shop) -> None:
    """Late exposures, features and labels in published days, then compaction of every table."""
    shop.show(("d0/late", at(5), 1))
    shop.rate((1, at(4.5), at(4.6), 0.99))
    shop.tap(("d0/4", at(2.1), at(60), 1), watermark=at(9, day=3))
    build(shop.lake, sample_set())
    for name in shop.lake.names():
        compact(shop.lake.table(name))


def test_a_version_is_reproduced_day_by_day(shop: Shop) -> None:
    lock = publish(shop.lake, sample_set()).lock
    assert [locked.day for locked in lock.days] == [day(0), day(1)]
    assert lock.positives == 4
    seen: list[dt.date] = []
    done = rebuild(shop.lake, "taps", progress=lambda each: seen.append(each.day))
    assert done.reproduced
    assert (done.rows, done.content_hash) == (lock.rows, lock.content_hash)
    assert seen == [day(0), day(1)]
    assert all(each.reproduced and each.rows == 40 for each in done.days)


def test_late_data_and_compaction_do_not_reach_a_published_version(shop: Shop) -> None:
    first = publish(shop.lake, sample_set()).lock
    everything_happens(shop)
    assert verify(shop.lake, "taps", 1).rows == first.rows
    assert rebuild(shop.lake, "taps", 1).reproduced
    second = publish(shop.lake, sample_set()).lock
    assert (second.version, second.rows) == (2, first.rows + 41)
    assert second.days[0].content_hash != first.days[0].content_hash
    assert rebuild(shop.lake, "taps", 2).reproduced
    assert rebuild(shop.lake, "taps", 1).reproduced


def test_days_published_before_their_rebuild_are_reproduced_from_their_own_inputs(
    shop: Shop,
) -> None:
    shop.show(("d0/late", at(5), 1))  # not built yet: day 0 is behind its inputs
    lock = publish(shop.lake, sample_set()).lock
    assert lock.days[0].inputs != lock.days[1].inputs
    assert rebuild(shop.lake, "taps").reproduced


def test_a_day_that_does_not_come_out_the_same_is_named(shop: Shop) -> None:
    lock = publish(shop.lake, sample_set()).lock
    wrong = replace(lock, days=(lock.days[0], replace(lock.days[1], content_hash="0" * 32)))
    done = rebuild_locked(shop.lake, wrong)
    assert not done.reproduced
    assert [(each.day, each.reproduced) for each in done.days] == [(day(0), True), (day(1), False)]


def test_a_rebuild_reads_the_locked_recipe_and_not_todays(shop: Shop) -> None:
    publish(shop.lake, sample_set())
    longer = [{"name": "tap", "stream": "shop.taps", "window": "12h"}]
    build(shop.lake, sample_set(labels=longer))
    assert rebuild(shop.lake, "taps", 1).reproduced
    with refused(PublishRefusedError, reason=PublishReason.OTHER_DEFINITION):
        publish(shop.lake, sample_set())


def test_a_pinned_input_that_is_gone_is_named(shop: Shop) -> None:
    publish(shop.lake, sample_set())
    lock = find_lockfile(shop.lake, "taps")
    gone = {**lock.days[0].inputs, "shop.rates": 12345}
    with refused(DatasetChangedError, reason=DatasetReason.INPUT_GONE, table="shop.rates"):
        rebuild_locked(shop.lake, replace(lock, days=(replace(lock.days[0], inputs=gone),)))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Shop]:
    """One built day of four exposures, with taps, features and mature labels."""
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        shop.show(*((f"a{i}", at(i), i % 2) for i in range(4)))
        shop.rate((0, at(0.5), at(0.5), 0.25), (1, at(0.1), at(0.2), 0.5))
        shop.tap(("a1", at(1.5), at(1.5), 3), watermark=at(9))
        build(lake, FORCES)
        yield shop


FORCES = sample_set(
    labels=[{"name": "force", "stream": "shop.taps", "value": "force", "window": "2h"}]
)


def test_a_version_is_reproduced_whatever_its_inputs_columns_are_called_since(small: Shop) -> None:
    lock = publish(small.lake, FORCES).lock
    for name, *steps in (
        ("rates", RenameColumn("rate", to="ctr"), AddColumn("rate", type=pa.float64())),
        ("shown", DropColumn("slot"), AddColumn("slot", type=pa.string())),
        ("shown", RenameColumn("item", to="product"), RenameColumn("event_time", to="shown_at")),
        ("taps", RenameColumn("shown_id", to="id"), DropColumn("force")),
    ):
        alter(small.lake.table(f"shop.{name}"), *steps)
    done = rebuild(small.lake, "taps", 1)
    assert (done.reproduced, done.rows) == (True, lock.rows)


def test_samples_are_published_with_the_columns_of_their_last_commit(small: Shop) -> None:
    samples = small.lake.table("samples.taps")
    alter(samples, DropColumn("slot"), AddColumn("slot", type=pa.int64()))
    lock = publish(small.lake, FORCES).lock
    assert verify(small.lake, "taps", lock.version).rows == lock.rows


def test_an_input_that_was_empty_has_the_columns_it_had_or_is_named(tmp_path: Path) -> None:
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        shop.show(("a", at(1), 1))
        build(lake, sample_set())
        publish(lake, sample_set(), allow_pending=True)
        alter(lake.table("shop.rates"), RenameColumn("rate", to="ctr"))
        assert rebuild(lake, "taps").reproduced
        lake.catalog.drop_table(("shop", "rates"))
        lake.create(TableName("shop", "rates"), pa.schema([("item", pa.int64())]))
        with refused(DatasetChangedError, reason=DatasetReason.COLUMN_GONE, table="shop.rates"):
            rebuild(lake, "taps")
