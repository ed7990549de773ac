"""Tells which recorded builds of a sample table are still what its partitions hold."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from headrace.registry import Build, CommitRecord
from headrace.tables.history.changes import changes
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_COMMITS_READ = 200


def standing_builds(
    lake: OpenLake, samples: TableVersion, builds: Mapping[str, Build]
) -> dict[str, Build]:
    """Keep the builds, by partition text, that no other commit up to `samples` has replaced.

    Of two builds of a partition at once, the one on record may be the one that the other replaced;
    and a build may be of a table of the same name that was dropped. Compaction replaces nothing.
    """
    # asking for no changes still brings the registry up to the head
    changes(lake.table(samples.name), since=samples.snapshot_id, until=samples.snapshot_id)
    history = _history(lake, samples, builds.keys())
    return {key: build for key, build in builds.items() if history.may_hold(key, build)}


@dataclass(kw_only=True)
class _History:
    """The newest commit of each partition, among those after `position`; None is the beginning."""

    position: int | None
    touched: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, record: CommitRecord) -> None:
        if record.snapshot_id != self.position:
            return  # of another table of this name, or after the wanted snapshot
        self.position = record.parent_id
        if record.operation != "replace":
            for partition in record.partitions:
                self.touched.setdefault(partition, record.snapshot_id)

    def may_hold(self, key: str, build: Build) -> bool:
        """Whether a partition holds what a build wrote; also where its commit is not on record."""
        if key in self.touched:
            return self.touched[key] == build.snapshot_id
        return self.position is not None


def _history(lake: OpenLake, samples: TableVersion, wanted: Collection[str]) -> _History:
    """Read as far back as it must to have met every wanted partition."""
    limit = _COMMITS_READ
    while True:
        records = lake.registry.commits(str(samples.name), limit=limit)
        found = _History(position=samples.snapshot_id)
        for record in records:
            found.add(record)
        if len(records) < limit or found.position is None or found.touched.keys() >= set(wanted):
            return found
        limit *= 10
