"""A publication that another one overtakes: the store keeps what is newer, whichever way it was written."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.dml.delete import delete_where
from headrace.serving.newest import spans_of
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.tables.alter import AddColumn, alter
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.serving.conftest import add, hours, row

Views = Callable[..., LakeTable]


def publish(lake: Lake, table: LakeTable) -> None:
    with SQLiteOnlineStore(lake.settings.online_store) as store:
        publish_view(lake, store, table.head())


def new_ttl(table: LakeTable, view: Views) -> None:
    assert view(ttl_s=60).name == table.name


def deleted(table: LakeTable, _: Views) -> None:
    delete_where(table, "item_id = 2", provenance=Provenance())


def new_column(table: LakeTable, _: Views) -> None:
    alter(table, AddColumn("more", type=pa.int64()))


@pytest.mark.parametrize("change", [new_ttl, deleted, new_column])
def test_a_publisher_that_was_overtaken_does_not_go_back(
    lake: Lake,
    view: Views,
    change: Callable[[LakeTable, Views], None],
) -> None:
    table = view()
    add(table, [row(1, at=1), row(2, at=30)])
    publish(lake, table)
    change(table, view)
    slow = table.head()

    class Overtaken(SQLiteOnlineStore):
        def put(self, *args: Any, **options: Any) -> int:  # noqa: ANN401  (of `OnlineStore.put`)
            overtake()
            return super().put(*args, **options)

        def replace(self, *args: Any, **options: Any) -> int:  # noqa: ANN401  (of `OnlineStore.replace`)
            overtake()
            return super().replace(*args, **options)

    def overtake() -> None:
        add(table, [row(1, at=31)])
        publish(lake, table)

    with Overtaken(lake.settings.online_store) as late:
        assert publish_view(lake, late, slow).mode == "superseded"
        state = late.state(str(table.name))
    assert state is not None
    assert state.snapshot_id == table.head().snapshot_id


def test_days_that_follow_one_another_are_one_span() -> None:
    first, second, last = (hours(24 * day) for day in (0, 1, 3))
    assert spans_of([each.date() for each in (first, second, last)]) == (
        (first, hours(48)),
        (last, hours(96)),
    )
