"""Fills an online store of Feast: run by the Python of Feast's own environment, which has no headrace.

python -m benchmarks.feast_server FOLDER HOST:PORT,password=… ENTITIES
"""

import datetime as dt
import sys
from pathlib import Path

from benchmarks.online_store import COLUMNS, values

VIEW = "items"
_STORE = """
project: beside
provider: local
registry: registry.db
online_store:
  type: redis
  connection_string: "{address}"
offline_store:
  type: file
entity_key_serialization_version: 3
"""


def main(folder: str, address: str, entities: str) -> None:
    """Declare one view and write its values to the online store."""
    # of another environment than the one that is checked
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource  # pyright: ignore
    from feast.types import Float64, Int64  # pyright: ignore
    from feast.value_type import ValueType  # pyright: ignore

    home, now = Path(folder), dt.datetime.now(dt.UTC)
    (home / "feature_store.yaml").write_text(_STORE.format(address=address))
    items = range(int(entities))
    frame = pd.DataFrame({"item_id": list(items), "happened_at": now})
    for name, column in zip(COLUMNS, zip(*map(values, items), strict=True), strict=True):
        frame[name] = list(column)
    frame.head(1).to_parquet(home / "items.parquet")
    entity = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name=VIEW,
        entities=[entity],
        ttl=dt.timedelta(days=1),
        schema=[
            Field(name="item_id", dtype=Int64),
            *(Field(name=n, dtype=Float64) for n in COLUMNS),
        ],
        source=FileSource(path=str(home / "items.parquet"), timestamp_field="happened_at"),
    )
    store = FeatureStore(repo_path=folder)
    store.apply([entity, view])
    store.write_to_online_store(VIEW, df=frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
