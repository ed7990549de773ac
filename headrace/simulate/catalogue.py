"""The item catalogue: the items of each campaign, and a few price changes every day."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.simulate.draws import Draws, Ints, mix, spread
from headrace.simulate.plan import CAMPAIGNS, DAY_US, SimulationPlan
from headrace.simulate.write import stamp

_BRANDS = ("acorn", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath")
_CATEGORIES = ("coat", "dress", "knit", "shirt", "shoe", "skirt")
_STYLES = ("casual", "formal", "sport", None)
_CHANGED_PPM = 10_000
_SCHEMA = pa.schema(
    [
        pa.field("campaign", pa.string(), nullable=False),
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("listed_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("price_score", pa.float64(), nullable=False),
        pa.field("brand", pa.string()),
        pa.field("category", pa.string()),
        pa.field("style", pa.string()),
    ]
)


def write_catalogue(plan: SimulationPlan, data: Path) -> int:
    """Write `items/*.parquet`: all items at the start of the traffic, then new prices each day.

    Returns the number of rows.
    """
    folder = data / "items"
    folder.mkdir(parents=True, exist_ok=True)
    campaign = spread(np.full(len(CAMPAIGNS), plan.items, dtype=np.int64))
    item = np.arange(campaign.size, dtype=np.int64) % plan.items
    listed = _listing(campaign, item, listed_at=np.full_like(item, plan.start_us - DAY_US), day=0)
    pq.write_table(listed, folder / f"{stamp(plan.start_us)}.parquet")
    rows = listed.num_rows
    for day in range(1, plan.days):
        draws = Draws(plan.seed, day, 3)
        changed = np.flatnonzero(draws.chance(_CHANGED_PPM, size=item.size))
        start_us = plan.start_us + day * DAY_US
        moment = np.sort(start_us + draws.below(DAY_US, size=changed.size))
        table = _listing(campaign[changed], item[changed], listed_at=moment, day=day)
        if table.num_rows:
            pq.write_table(table, folder / f"{stamp(start_us + DAY_US)}.parquet")
        rows += table.num_rows
    return rows


def _listing(campaign: Ints, item: Ints, *, listed_at: Ints, day: int) -> pa.Table:
    key = item * len(CAMPAIGNS) + campaign
    names = (
        pa.array(CAMPAIGNS).take(pa.array(campaign)),
        pa.array(item),
        pa.array(listed_at, pa.timestamp("us", tz="UTC")),
        pa.array((mix(key, salt=16 + day) % 2_000) / 100 - 10.0),
        pa.array(_BRANDS).take(pa.array(mix(key, salt=7) % len(_BRANDS))),
        pa.array(_CATEGORIES).take(pa.array(mix(key, salt=8) % len(_CATEGORIES))),
        pa.array(_STYLES, pa.string()).take(pa.array(mix(key, salt=9) % len(_STYLES))),
    )
    return pa.Table.from_arrays(list(names), schema=_SCHEMA)
