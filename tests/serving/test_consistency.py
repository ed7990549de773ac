"""Serving and training agree: the online vector at t is what a sample of t was built with."""

import datetime as dt
import random
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.vectors import lookup_vector
from tests.samples.factories import RATES, Shop, at, sample_set, settings_in

ITEMS = range(8)


@pytest.mark.parametrize("delay", [dt.timedelta(0), dt.timedelta(hours=2)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_vector_of_now_is_the_sample_of_now(
    tmp_path: Path, delay: dt.timedelta, seed: int
) -> None:
    random_of = random.Random(seed)
    now = at(12, day=1)
    use = sample_set()
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        view = FeatureView(
            view=TableName("shop", "rates"),
            entity=("item",),
            ttl=dt.timedelta(hours=20),
            delay=delay,
        )
        lake.create(
            view.view,
            RATES,
            partition_by=["day(event_time)"],
            properties={"headrace.feature_view": view.to_property()},
        )
        with SQLiteOnlineStore(lake.settings.online_store) as store:
            for _ in range(3):  # published as it grows, with ties and late rows
                rows = [
                    (item, at(hour), at(hour + random_of.choice((0, 1, 1, 3))), random_of.random())
                    for item in ITEMS[:-1]
                    for hour in random_of.choices(range(4 * item, 4 * item + 4), k=3)
                ]
                shop.rate(*rows)
                publish_view(lake, store, lake.table(view.view).head())
            shop.show(*((f"now/{item}", now, item) for item in ITEMS))
            build(lake, use)
            samples = shop.samples()
            for item in ITEMS:
                (found,) = lookup_vector(store, use.features, {"item": item}, at=now).features
                sample = samples[f"now/{item}"]
                assert (found.value, found.status == "fresh") == (
                    sample["rate"],
                    sample["rates__event_time"] is not None,
                )
                if found.status == "fresh":
                    assert found.event_time == sample["rates__event_time"]
                    assert found.known_at == sample["rates__known_at"]
