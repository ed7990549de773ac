"""Every operation interrupted by every other: the rows are those of one order, or it says why not."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import LakeError
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.registry import Registry
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import seed_of_today
from tests.proofs import operations as ops
from tests.proofs.operations import Operation, finish, rows_of
from tests.tables.factories import day_key, events, events_table

FIRST = [
    ops.append({100: ("new", 0), 101: ("new", 1)}),
    ops.merging({3: ("merged", 0), 200: ("merged", 2)}),
    ops.deleting(frozenset({3, 5, 100})),
    ops.overwriting(0, {300: ("overwritten", 0)}),
    ops.COMPACTION,
    ops.MANIFESTS,
    ops.EXPIRY,
    ops.CLEAN_UP,
    ops.SCHEMA_CHANGE,
    ops.tagging("mine"),
]
SECOND = [
    ops.append({110: ("newer", 0), 111: ("newer", 2)}),
    ops.merging({3: ("merged later", 0), 200: ("merged later", 1)}),
    ops.deleting(frozenset({3, 6, 200})),
    ops.overwriting(0, {310: ("overwritten later", 0)}),
    ops.COMPACTION,
    ops.MANIFESTS,
    ops.EXPIRY,
    ops.CLEAN_UP,
    ops.OTHER_SCHEMA_CHANGE,
    ops.tagging("other"),
]
SECOND_SHORT = 2  # of these, others each day


@contextmanager
def elsewhere(settings: Settings, *, host: str = "elsewhere") -> Iterator[Lake]:
    """Open the same tables as another host would: without sharing the file lock."""
    apart = dataclasses.replace(settings, state_dir=settings.state_dir / host)
    if settings.catalog_server is not None:  # where hosts share nothing but the servers
        with Lake.open(apart) as lake:
            yield lake
        return
    catalog = MemoCatalog(
        "lake", uri=f"{settings.catalog_uri}?timeout=30", warehouse=f"file://{settings.warehouse}"
    )
    with Lake(apart, catalog, Registry(settings.registry_uri)) as lake:
        yield lake


def prepared(lake: Lake) -> LakeTable:
    table = events_table(lake, f"raw.t{len(lake.names())}")
    for first in (1, 10):  # two small files a day
        batches = [events([first + day, first + day + 4], day=day) for day in range(ops.DAYS)]
        operations.append(table, write_batches(table, batches), provenance=Provenance())
    abandoned = write_batches(table, [events([999])])
    intents.landed(lake.registry, abandoned)  # as if its writer had ended
    ops.age_files(table)
    return table


@contextmanager
def interrupted_before_the_swap(
    lake: Lake, interruption: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let something happen when this lake's catalog is first asked to commit, or else afterwards."""
    swap = lake.catalog.commit_table

    def happen_then_swap(*arguments: object) -> object:
        patch.undo()
        interruption()
        happened.append(True)
        return swap(*arguments)  # pyright: ignore[reportArgumentType]

    happened: list[bool] = []
    with monkeypatch.context() as patch:
        # no other place lies between the last look at the table and the swap
        patch.setattr(lake.catalog, "commit_table", happen_then_swap)
        yield
    if not happened:
        interruption()


each_first = pytest.mark.parametrize("first", FIRST, ids=lambda each: each.name)
each_moment = pytest.mark.parametrize("moment", ["planned", "staged"])


@each_first
@each_moment
def test_an_operation_interrupted_by_another_gives_the_rows_of_one_order(
    settings: Settings, first: Operation, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"{first.name} {moment} {seed_of_today()}")
    interrupted_by(
        chance.sample(SECOND, SECOND_SHORT), settings, first, moment, monkeypatch=monkeypatch
    )


@pytest.mark.proof
@each_first
@each_moment
def test_an_operation_interrupted_by_any_other_gives_the_rows_of_one_order(
    settings: Settings, first: Operation, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_by(SECOND, settings, first, moment, monkeypatch=monkeypatch)


def interrupted_by(
    each: Sequence[Operation],
    settings: Settings,
    first: Operation,
    moment: str,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Lake.open(settings) as lake, elsewhere(settings) as other:
        for second in each:
            table = prepared(lake)
            before = rows_of(table)
            start = table.head().snapshot_id
            there = other.table(table.name)

            def interruption(there: LakeTable = there, second: Operation = second) -> None:
                finish(second.steps(there))

            try:
                steps = first.steps(table)
                next(steps)
                if moment == "planned":
                    interruption()
                    finish(steps)
                else:
                    with interrupted_before_the_swap(lake, interruption, monkeypatch):
                        finish(steps)
            except LakeError:
                refused = True
            else:
                refused = False
            found = rows_of(table)
            alone = second.effect(before)
            orders = (
                [alone] if refused else [first.effect(alone), second.effect(first.effect(before))]
            )
            assert found in orders, (first.name, moment, second.name)
            check(table, start=start)


def check(table: LakeTable, *, start: int | None) -> None:
    """Whatever happened, every reader reads the same and the history has no hole."""
    stock = table.iceberg().scan().to_arrow().column("id").to_pylist()
    assert sorted(stock) == sorted(rows_of(table))
    for name, snapshot_id in table.lake.catalog.load_table(str(table.name)).metadata.refs.items():
        assert table.at(snapshot_id=snapshot_id.snapshot_id).to_arrow().num_rows, name
    touched = changes(table, since=start).partitions
    assert touched <= {day_key(day) for day in range(ops.DAYS)}
