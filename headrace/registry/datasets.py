"""Version numbers of datasets: each is claimed by one publication, for good."""

import sqlalchemy as sa

from headrace.registry.records import DatasetRecord
from headrace.registry.schema import DATASET_VERSIONS
from headrace.registry.upsert import insert_missing


class DatasetVersions:
    """The versions of all datasets."""

    engine: sa.Engine

    def claim_dataset(self, name: str, version: int, *, lockfile: str) -> bool:
        """Claim a version number for this lockfile; False if it is taken. One of many callers wins."""
        row = {"name": name, "version": version, "state": "claimed", "lockfile": lockfile}
        with self.engine.begin() as connection:
            done = connection.execute(insert_missing(self.engine, DATASET_VERSIONS), row)
            return done.rowcount == 1

    def settle_dataset(self, name: str, version: int, *, state: str) -> None:
        """Record how a claim ended, `published` or `abandoned`; a settled one is left as it is."""
        table = DATASET_VERSIONS
        this = sa.and_(table.c.name == name, table.c.version == version)
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(table).where(this, table.c.state == "claimed").values(state=state)
            )

    def datasets(self, name: str | None = None) -> list[DatasetRecord]:
        """Return the versions of one dataset, or of all, by name and version."""
        table = DATASET_VERSIONS
        query = sa.select(table)
        if name is not None:
            query = query.where(table.c.name == name)
        with self.engine.connect() as connection:
            found = [DatasetRecord(**row) for row in connection.execute(query).mappings()]
        # sorted here: databases order names by the rules of different languages
        return sorted(found, key=lambda each: (each.name, each.version))
