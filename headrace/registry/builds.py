"""What each partition of a derived table was last built from."""

import json
from collections.abc import Sequence

import sqlalchemy as sa

from headrace.registry.records import Build
from headrace.registry.schema import BUILDS, is_on_main
from headrace.registry.upsert import insert_or_replace


class Builds:
    """The last build of each partition."""

    engine: sa.Engine

    def record_builds(self, builds: Sequence[Build]) -> None:
        """Record what partitions were built from, replacing older records of them."""
        rows = [
            {
                "table_name": build.table,
                "partition": build.partition,
                "snapshot_id": build.snapshot_id,
                "inputs": json.dumps(dict(build.inputs), sort_keys=True),
                "code": build.code,
                "watermarks": json.dumps(dict(build.watermarks), sort_keys=True),
            }
            for build in builds
        ]
        if not rows:
            return
        # in one order, so that two writers of the same days never wait for each other
        rows.sort(key=lambda row: (row["table_name"], row["partition"]))
        with self.engine.begin() as connection:
            connection.execute(insert_or_replace(self.engine, BUILDS), rows)

    def builds(self, table: str) -> dict[str, Build]:
        """Return the last build of every partition of a table, by partition text.

        Builds that were rolled back are left out: their rows are gone.
        """
        query = sa.select(BUILDS).where(BUILDS.c.table_name == table, is_on_main(BUILDS))
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["partition"]: Build(
                table=table,
                partition=row["partition"],
                snapshot_id=row["snapshot_id"],
                inputs=json.loads(row["inputs"]),
                code=row["code"],
                watermarks=json.loads(row["watermarks"]),
            )
            for row in rows
        }
