"""Samples join what an import took of a Paimon table: the state of a key that was visible then."""

import datetime as dt
from pathlib import Path

import pyarrow as pa

from headrace.api import Lake
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_features
from headrace.samples.build import build
from tests.interop.warehouses import BY_KEY, Written
from tests.samples.factories import Shop, sample_set, settings_in

ITEMS = pa.schema(
    [
        pa.field("item", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("op", pa.string()),
    ]
)
VIEW = FeatureView(view=TableName.parse("features.items"), entity=("item",), ttl=None)
TICK = dt.timedelta(microseconds=1)


def test_a_sample_has_the_state_that_was_visible_when_it_was_shown(tmp_path: Path) -> None:
    (tmp_path / "paimon").mkdir()
    items = Written(tmp_path / "paimon", "k.items", ITEMS, ("item",), BY_KEY)
    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop.open(lake)
        for kind, name in (("+I", "a"), ("+I", "b"), ("-D", None)):
            items.write([{"item": 1, "name": name, "op": kind}])
            for _ in range(2):  # a second import has nothing to take
                take_features(lake, items.table(), VIEW)
        first, second, third = (each.committed_at for each in items.table().snapshots())
        shop.show(
            ("before", first - TICK, 1),
            ("first", first + TICK, 1),
            ("until-second", second - TICK, 1),
            ("second", second + TICK, 1),
            ("removed", third + TICK, 1),
            ("another", third + TICK, 2),
        )
        features = [{"view": str(VIEW.view), "columns": ["name"]}]
        build(lake, sample_set(features=features))
        found = {key: row["name"] for key, row in shop.samples().items()}
    assert found == {
        "before": None,
        "first": "a",
        "until-second": "a",
        "second": "b",
        "removed": None,
        "another": None,
    }
