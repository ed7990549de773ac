"""Random pairs of entity and time: what is served at each is what training has; and publishers that race."""

import datetime as dt
import random
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.serving.publish import publish_view
from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.vectors import lookup_vectors
from infra.launcher.redis import url
from tests.amounts import seed_of_today
from tests.processes import exit_code, start
from tests.redis_server import redis_server
from tests.samples.factories import RATES, Shop, at, sample_set, settings_in

pytestmark = pytest.mark.slow
DELAY = dt.timedelta(minutes=20)
VIEW = TableName("shop", "rates")


def check_pairs(folder: Path, *, moments: int, items: int) -> None:
    """Publish and ask as time goes on, with late rows and ties; build samples of all that was asked."""
    draw, use = random.Random(seed_of_today()), sample_set()
    with Lake.open(settings_in(folder)) as lake, SQLiteOnlineStore(folder / "o.db") as store:
        view = FeatureView(view=VIEW, entity=("item",), ttl=dt.timedelta(hours=5), delay=DELAY)
        said = {"headrace.feature_view": view.to_property()}
        lake.create(view.view, RATES, partition_by=["day(event_time)"], properties=said)
        shop, served = Shop.open(lake), dict[str, tuple[object, object, object]]()
        for number in range(moments):
            now = at(1 + 22 * number / moments)
            rows = [
                (
                    draw.randrange(items),
                    now - dt.timedelta(minutes=draw.choice((1, 1, 25, 90, 400))),
                )
                for _ in range(items // 2)
            ]
            shop.rate(*((item, then, now, draw.random()) for item, then in rows))
            now += draw.choice((dt.timedelta(microseconds=1), DELAY))
            publish_view(lake, store, lake.table(VIEW).head(), as_of=now)
            asked = range(items)
            shop.show(*((f"{number}/{item}", now, item) for item in asked))
            (found,) = lookup_vectors(
                store, use.features, [{"item": item} for item in asked], at=now
            ).views
            for item, row, status in zip(asked, found.rows, found.statuses, strict=True):
                fresh = row is not None and status == "fresh"
                told = (row.values[0], row.event_time, row.known_at) if fresh else (None,) * 3
                served[f"{number}/{item}"] = told  # pyright: ignore[reportArgumentType]
        build(lake, use)
        samples = shop.samples()
    assert len(samples) == moments * items
    assert len({told[0] for told in served.values()}) > moments
    names = ("rate", "rates__event_time", "rates__known_at")
    wrong = [
        (pair, told)
        for pair, told in served.items()
        if tuple(samples[pair][name] for name in names) != told
    ]
    assert wrong == []


def test_each_pair_of_entity_and_time_is_served_as_it_is_trained_on(tmp_path: Path) -> None:
    check_pairs(tmp_path, moments=6, items=100)


@pytest.mark.proof
def test_a_hundred_thousand_pairs_are_served_as_they_are_trained_on(tmp_path: Path) -> None:
    check_pairs(tmp_path, moments=50, items=2_000)


def publish_often(settings: Settings, address: str) -> None:
    on_redis = "://" in address
    with (
        Lake.open(settings) as lake,
        RedisOnlineStore(address) if on_redis else SQLiteOnlineStore(Path(address)) as store,
    ):
        for _ in range(6):
            publish_view(lake, store, lake.table(VIEW).head())


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_publishers_that_race_end_with_the_rows_of_one(kind: str, tmp_path: Path) -> None:
    if kind == "sqlite":
        check_race(tmp_path, str(tmp_path / "o.db"))
        return
    with redis_server(tmp_path / "redis", appendonly="no") as cluster:
        check_race(tmp_path, url(cluster))


def check_race(folder: Path, address: str) -> None:
    settings, draw = settings_in(folder), random.Random(seed_of_today())
    with Lake.open(settings) as lake:
        shop = Shop.open(lake)
        shop.rate((0, at(1), at(1), 0.5))
        racers = [start(publish_often, settings, address) for _ in range(2)]
        for hour in range(5):
            shop.rate(*((draw.randrange(9), at(hour), at(hour), draw.random()) for _ in range(9)))
        assert [exit_code(each) for each in racers] == [0, 0]
        publish_often(settings, address)
        publish_often(settings, str(folder / "fresh.db"))
    on_redis = "://" in address
    with (
        RedisOnlineStore(address) if on_redis else SQLiteOnlineStore(Path(address)) as raced,
        SQLiteOnlineStore(folder / "fresh.db") as fresh,
    ):
        keys = [(item,) for item in range(10)]
        assert raced.get(str(VIEW), keys) == fresh.get(str(VIEW), keys)
