"""Commits whose answer is lost, and commits to two branches at once: landed once, never an odd error."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.typedef import Identifier

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import DatabaseUnavailableError
from headrace.identifiers import TableName
from headrace.tables.commits import attempt, operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.commits.planned import stage_table
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.tables.factories import EVENTS, add, events, events_table, ids_of

LOST = DatabaseUnavailableError("catalog", "connection lost")


def at_first_swap(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, happens: Callable[..., object]
) -> None:
    """Let `happens(swap, …)` stand in for the next swap, and none after it.

    Nothing but a broken connection or another host at exactly this moment shows these races.
    """
    swap = catalog.commit_table

    def first(*arguments: object) -> object:
        monkeypatch.setattr(catalog, "commit_table", swap)
        return happens(swap, *arguments)

    monkeypatch.setattr(catalog, "commit_table", first)


def test_a_commit_to_another_branch_in_between_makes_an_append_stage_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    add(table, [1])
    refs.create_branch(table, "side")
    beside = write_batches(table, [events([3])])

    def commit_beside(swap: Callable[..., object], *arguments: object) -> object:
        operations.append(table, beside, provenance=Provenance(), branch="side")
        return swap(*arguments)

    at_first_swap(lake.catalog, monkeypatch, commit_beside)
    assert add(table, [2]).attempts == 2
    assert ids_of(table) == [1, 2]


def test_a_request_carried_out_after_its_sender_looked_counts_as_landed_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    late: list[Callable[[], object]] = []

    def delay(swap: Callable[..., object], *arguments: object) -> object:
        late.append(lambda: swap(*arguments))
        raise LOST

    at_first_swap(lake.catalog, monkeypatch, delay)
    # the request is carried out while its sender waits to try again
    monkeypatch.setattr(attempt.time, "sleep", lambda _: late and late.pop()())
    landed = add(table, [1])
    assert ids_of(table) == [1]
    assert [s.snapshot_id for s in table.iceberg().metadata.snapshots] == [landed.snapshot_id]


def test_a_declaration_whose_answer_was_lost_is_not_taken_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    swaps: list[Any] = []

    def lose_the_answer(swap: Callable[..., object], *arguments: object) -> object:
        swaps.append(swap(*arguments))
        raise LOST

    at_first_swap(lake.catalog, monkeypatch, lose_the_answer)
    wanted = pa.schema([*EVENTS, pa.field("note", pa.string())])
    lake.create(table.name, wanted, partition_by=["day(event_time)"], properties={"owner": "ads"})
    metadata = table.iceberg().metadata
    assert [each.name for each in metadata.schema().fields] == wanted.names
    assert metadata.properties["owner"] == "ads"
    assert [each.metadata for each in swaps] == [metadata]  # nothing landed after it


def test_a_table_whose_creation_was_not_answered_is_there_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = lake.catalog.create_table

    def lose_the_answer(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the catalog's
        create(*arguments, **options)
        raise LOST

    monkeypatch.setattr(lake.catalog, "create_table", lose_the_answer)
    table = events_table(lake)
    add(table, [1])
    assert ids_of(table) == [1]


def test_a_commit_that_expired_before_its_sender_looked_is_not_repeated(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(replace(settings, snapshots_kept=1)) as lake:
        table = events_table(lake)

        def lose_the_answer(swap: Callable[..., object], *arguments: object) -> object:
            swap(*arguments)
            for number in range(10, 15):
                add(table, [number])
            raise LOST

        at_first_swap(lake.catalog, monkeypatch, lose_the_answer)
        landed = add(table, [1])
        assert table.iceberg().metadata.snapshot_by_id(landed.snapshot_id) is None
        assert ids_of(table) == [1, 10, 11, 12, 13, 14]


@pytest.mark.parametrize("moment", range(1, 5))
@pytest.mark.parametrize("kind", ["creates", "fenced", "rewrites"])
def test_a_late_request_counts_at_whatever_moment_it_is_carried_out(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: str, moment: int
) -> None:
    name = TableName("raw", "late")
    if kind == "creates":
        table = stage_table(lake, name, events([1]).schema, properties={})
    else:
        table = lake.create(name, events([1]).schema)
    first = add(table, [1]) if kind == "rewrites" else None
    removed = [] if first is None else [each.data_file for each in table.head().files()]
    added = write_batches(table, [events([2])])
    late = list[Callable[[], object]]()
    looks, look = 0, lake.catalog.load_table

    def looking(identifier: str | Identifier) -> object:
        nonlocal looks
        looks += 1
        if late and looks == moment:
            with contextlib.suppress(CommitFailedException):  # the next attempt was faster
                late.pop()()
        return look(identifier)

    def delay(swap: Callable[..., object], *arguments: object) -> object:
        monkeypatch.setattr(lake.catalog, "load_table", looking)
        late.append(lambda: swap(*arguments))
        raise LOST

    at_first_swap(lake.catalog, monkeypatch, delay)
    if kind == "rewrites":
        landed = operations.rewrite_files(
            table,
            removed=removed,
            added=added,
            base_snapshot_id=table.head().snapshot_id,
            provenance=Provenance(),
        )
    else:
        fence = Fence(key="s", expected={}, offsets={"a": 1}) if kind == "fenced" else None
        landed = operations.append(table, added, provenance=Provenance(), fence=fence)
    assert looks >= moment
    assert ids_of(lake.table(name)) == [2]
    assert lake.table(name).head().snapshot_id == landed.snapshot_id
    assert len(lake.table(name).iceberg().metadata.snapshots) == (2 if first else 1)
