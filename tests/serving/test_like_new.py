"""A store that was brought up step by step is equal to a new one, whatever happened to the view."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.table.snapshots import ancestors_of

from headrace.api import Lake
from headrace.dml.delete import delete_where
from headrace.errors import AlterRefusedError
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineStore
from headrace.tables.alter import AddColumn, DropColumn, RenameColumn, alter
from headrace.tables.commits.operations import (
    Provenance,
    append,
    overwrite_partitions,
    replace_files,
)
from headrace.tables.lake import LakeTable
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.serving.conftest import START, hours, row

Views = Callable[..., LakeTable]
VIEW = "features.item_ctr"
ALWAYS = [(START - dt.timedelta(days=9), START + dt.timedelta(days=9))]


def contents(store: OnlineStore) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Everything a store holds of the view."""
    keys = [each.key for each in store.happened(VIEW, ALWAYS)]
    rows = store.get(VIEW, keys)
    return {r.key: (r.event_time, r.known_at, *r.values) for r in rows if r is not None}


@dataclass
class World:
    """A view, the store that follows it, and the moment that was published last."""

    lake: Lake
    table: LakeTable
    remake: Views
    store: SQLiteOnlineStore
    as_of_h: float = 30
    pinned: list[TableVersion] = field(default_factory=list)

    def rows(self, seed: int, *, days: Sequence[int]) -> pa.RecordBatch:
        """A few rows of three items, some known late, as the view is now."""
        found = []
        for n in range(3):
            mixed = (seed * 7 + n * 5) % 61
            at = 24 * days[mixed % len(days)] + mixed % 24
            made: dict[str, Any] = row(1 + (mixed + n) % 3, at=at, known=at + mixed % 4)
            found.append({**made, "ctr": mixed / 64})
        schema = self.table.head().schema
        kept = [{name: each.get(name) for name in schema.names} for each in found]
        return pa.RecordBatch.from_pylist(kept, schema=schema)

    def append(self, seed: int) -> None:
        files = write_batches(self.table, [self.rows(seed, days=(0, 1, 2))])
        append(self.table, files, provenance=Provenance())

    def overwrite(self, seed: int) -> None:
        day = seed % 3
        files = write_batches(self.table, [self.rows(seed, days=(day,))]) if seed % 4 else ()
        key = ((START + dt.timedelta(days=day)).date(),)
        overwrite_partitions(self.table, files, partitions=[key], provenance=Provenance())

    def delete(self, seed: int) -> None:
        delete_where(self.table, f"item_id = {1 + seed % 3}", provenance=Provenance())

    def redefine(self, seed: int) -> None:
        """Write every day anew, as another definition of the view would."""
        head = self.table.head()
        files = write_batches(self.table, [self.rows(seed, days=(seed % 2,))])
        keys = {*head.partitions, ((START + dt.timedelta(days=seed % 2)).date(),)}
        overwrite_partitions(self.table, files, partitions=sorted(keys), provenance=Provenance())

    def delay(self, seed: int) -> None:
        if "seen" in self.table.head().schema.names:
            self.remake(schema=self.table.head().schema, delay_s=3_600 * (seed % 3))

    def roll_back(self, seed: int) -> None:
        metadata = self.table.iceberg().metadata
        line = list(ancestors_of(metadata.current_snapshot(), metadata))
        to = line[seed % min(len(line), 4)].snapshot_id
        apply_rollback(self.table, plan_rollback(self.table, to))

    def alter(self, seed: int) -> None:
        steps = (
            [DropColumn("seen"), AddColumn("seen", type=pa.int64())],
            [RenameColumn("ctr", to="rate"), AddColumn("ctr", type=pa.float64())],
            [RenameColumn("known_at", to="arrived"), RenameColumn("arrived", to="known_at")],
        )
        try:
            alter(self.table, *steps[seed % 3])
        except AlterRefusedError:
            return  # `rate` is there already

    def compact(self, seed: int) -> None:
        head = self.table.head()
        removed = [entry.data_file for entry in head.files()]
        if removed:
            added = write_batches(self.table, head.batches())
            replace_files(self.table, removed=removed, added=added, provenance=Provenance())

    def publish(self, seed: int) -> None:
        self.as_of_h += seed % 30
        publish_view(self.lake, self.store, self.table.head(), as_of=hours(self.as_of_h))
        self.pinned.append(self.table.head())

    def publish_late(self, seed: int) -> None:
        """A publisher that pinned the view a while ago and is as slow about the time."""
        if self.pinned:
            before = contents(self.store)
            late = self.pinned[seed % len(self.pinned)]
            if late.snapshot_id != self.table.head().snapshot_id:
                publish_view(self.lake, self.store, late, as_of=hours(1))
                if self.store_is_on_main():
                    assert contents(self.store) == before

    def store_is_on_main(self) -> bool:
        state = self.store.state(VIEW)
        head = self.table.head().snapshot_id
        return state is not None and state.snapshot_id == head


STEPS = (
    World.append,
    World.overwrite,
    World.delete,
    World.redefine,
    World.delay,
    World.roll_back,
    World.alter,
    World.compact,
    World.publish_late,
)
HISTORY = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 60), st.booleans()), min_size=2, max_size=6
)


def check(world: World, history: Sequence[tuple[Any, int, bool]], folder: Path) -> None:
    world.append(1)
    world.publish(0)
    for number, (step, seed, is_published) in enumerate(history):
        step(world, seed)
        if is_published or number == len(history) - 1:
            world.publish(seed)
    new = folder / f"{world.table.head().snapshot_id}-{len(list(folder.iterdir()))}.db"
    with SQLiteOnlineStore(new) as fresh:
        publish_view(world.lake, fresh, world.table.head(), as_of=hours(world.as_of_h))
        assert contents(world.store) == contents(fresh)


@pytest.fixture
def run(lake: Lake, view: Views, tmp_path: Path) -> Callable[[Sequence[Any]], None]:
    folder = tmp_path / "stores"
    folder.mkdir()

    def run(history: Sequence[Any]) -> None:
        if lake.exists(VIEW):
            lake.catalog.drop_table(("features", "item_ctr"))
        with SQLiteOnlineStore(folder / f"{len(list(folder.iterdir()))}.db") as store:
            check(World(lake, view(), view, store), history, folder)

    return run


@pytest.mark.parametrize(
    "history",
    [
        [
            (World.append, 9, True),
            (World.delete, 0, True),
            (World.overwrite, 8, False),
            (World.publish_late, 0, False),
            (World.roll_back, 1, False),
        ],
        [(World.redefine, 3, False), (World.alter, 0, False)],
    ],
)
def test_a_store_is_like_a_new_one(
    run: Callable[[Sequence[Any]], None], history: list[Any]
) -> None:
    run(history)


@pytest.mark.proof
@given(history=HISTORY)
@settings(
    deadline=None,
    max_examples=examples(100, few=30),
    # a history is read as it is: making it shorter would take minutes
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_store_is_like_a_new_one_after_any_history(
    run: Callable[[Sequence[Any]], None], history: list[Any]
) -> None:
    run(history)
