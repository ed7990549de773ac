"""The commits between two snapshots, also where snapshots between them have expired."""

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from pyiceberg.table.metadata import TableMetadata

from headrace.identifiers import TableName
from headrace.registry import CommitRecord, Registry
from headrace.tables.history.commit_log import facts_of
from headrace.tables.lake import LakeTable


@dataclass(frozen=True, kw_only=True)
class Ancestry:
    """The history of a table: its metadata, continued by the registry's log of expired commits."""

    table: TableName
    metadata: TableMetadata
    registry: Registry = field(repr=False)

    @classmethod
    def of(cls, table: LakeTable, metadata: TableMetadata) -> Self:
        """Return the history that a state of a table has."""
        return cls(table=table.name, metadata=metadata, registry=table.lake.registry)

    def commit(self, snapshot_id: int) -> CommitRecord | None:
        """Return the record of one commit without its partitions; None if it is unknown.

        Raises:
            DatabaseUnavailableError: If the registry is needed and unavailable.

        """
        snapshot = self.metadata.snapshot_by_id(snapshot_id)
        if snapshot is None:
            return self.registry.commit(str(self.table), snapshot_id)
        facts = facts_of(self.table, snapshot)
        if facts.parent_id is not None or facts.sequence_number <= 1:
            return facts
        # expiry removes the parent of the oldest remaining snapshot
        known = self.registry.commit(str(self.table), snapshot_id)
        return facts if known is None else replace(facts, parent_id=known.parent_id)

    def back_from(self, snapshot_id: int) -> Iterator[CommitRecord]:
        """Yield a commit and those before it, newest first, as far back as table and registry know."""
        commit = self.commit(snapshot_id)
        while commit is not None:
            yield commit
            commit = None if commit.parent_id is None else self.commit(commit.parent_id)

    def path(self, snapshot_id: int, *, back_to: int) -> tuple[CommitRecord, ...] | None:
        """Return the commits after `back_to` up to `snapshot_id`, newest first.

        None if, by table and registry, `back_to` is not an ancestor. Reads back to the age of
        `back_to` only, however long the history of the table is.
        """
        oldest = self._age(back_to)
        found: list[CommitRecord] = []
        position: int | None = snapshot_id
        while position != back_to:
            commit = None if position is None else self.commit(position)
            if commit is None or commit.sequence_number < oldest:
                return None
            found.append(commit)
            position = commit.parent_id
        return tuple(found)

    def common(self, one: int, other: int) -> int | None:
        """Return the newest common ancestor of two snapshots, themselves included; None if none."""
        # newest first: a common ancestor is met from both sides before anything older is visited
        ahead = [(-self._age(each), each) for each in (one, other)]
        heapq.heapify(ahead)
        met: set[int] = set()
        while ahead:
            _, position = heapq.heappop(ahead)
            if position in met:
                return position
            met.add(position)
            commit = self.commit(position)
            if commit is not None and commit.parent_id is not None:
                heapq.heappush(ahead, (-self._age(commit.parent_id), commit.parent_id))
        return None

    def only_in(self, snapshot_id: int, *, others: Collection[int]) -> tuple[CommitRecord, ...]:
        """Return the commits that lead to a snapshot and to none of `others`, newest first."""
        shared = dict.fromkeys(others, True)
        shared.setdefault(snapshot_id, False)
        ahead = [(-self._age(each), each) for each in shared]
        heapq.heapify(ahead)
        found: list[CommitRecord] = []
        own_ahead = 0 if shared[snapshot_id] else 1
        # children are newer than parents, so a commit is known as shared when its turn comes
        while own_ahead:
            _, position = heapq.heappop(ahead)
            own_ahead -= not shared[position]
            commit = self.commit(position)
            if commit is None:
                continue
            if not shared[position]:
                found.append(commit)
            if commit.parent_id is None:
                continue
            if commit.parent_id not in shared:
                shared[commit.parent_id] = shared[position]
                own_ahead += not shared[position]
                heapq.heappush(ahead, (-self._age(commit.parent_id), commit.parent_id))
            elif shared[position] and not shared[commit.parent_id]:
                shared[commit.parent_id] = True
                own_ahead -= 1
        return tuple(found)

    def _age(self, snapshot_id: int) -> int:
        commit = self.commit(snapshot_id)
        return 0 if commit is None else commit.sequence_number
