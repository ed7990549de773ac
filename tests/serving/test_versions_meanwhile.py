"""Publications beside what moves versions: each version goes on as the one it is, wherever it is by then."""

import random
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import PublicationOvertakenError, VersionNotReadyError, VersionReason
from headrace.identifiers import TableName
from headrace.serving.beside import publish_versions
from headrace.serving.publish import publish_target
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import EntityKey, Found, ViewState
from headrace.serving.target import Target
from headrace.serving.versions import (
    apply_move,
    apply_retire,
    plan_rollback,
    plan_switch,
    versions_of,
)
from headrace.serving.window_state import windows_of as windows_of_state
from headrace.tables.alter import AddColumn, alter
from headrace.tables.lake import LakeTable
from tests.raising import refused
from tests.samples.window_oracle import windows_of
from tests.serving.conftest import add, row
from tests.serving.plays import World

pytestmark = pytest.mark.slow
NAME = TableName.parse("features.item_ctr")
VIEW = str(NAME)
Views = Callable[..., LakeTable]
Act = Callable[[SQLiteOnlineStore], None]


class Watched(SQLiteOnlineStore):
    """A store in which something happens right after all versions of a view were looked at."""

    def __init__(self, settings: Settings, act: Act, *, times: int = 1) -> None:
        super().__init__(settings.online_store)
        self._act, self._left = act, times

    def look_up(self, wanted: Sequence[tuple[str, Sequence[EntityKey]]]) -> list[Found]:
        found = super().look_up(wanted)
        if self._left and len(wanted) == 3:
            self._left -= 1
            with SQLiteOnlineStore(self._path) as other:
                self._act(other)
        return found


def switch(store: SQLiteOnlineStore) -> None:
    apply_move(store, plan_switch(VIEW, versions_of(store, VIEW)))


def rollback(store: SQLiteOnlineStore) -> None:
    apply_move(store, plan_rollback(VIEW, versions_of(store, VIEW)))


def retire_former(store: SQLiteOnlineStore) -> None:
    apply_retire(store, versions_of(store, VIEW)["former"])


def columns(store: SQLiteOnlineStore) -> dict[str, tuple[str, ...]]:
    return {version: state.columns for version, state in versions_of(store, VIEW).items()}


def three_definitions(lake: Lake, view: Views) -> LakeTable:
    """A view with a served, a next and a former version, and rows that none of them has."""
    table = view()
    add(table, [row(1, at=1)])
    with SQLiteOnlineStore(lake.settings.online_store) as store:
        publish_versions(lake, store, NAME)
        for name in ("seen_2", "seen_3"):
            alter(table, AddColumn(name, type=pa.int64()))
            add(table, [row(2, at=2)])
            publish_versions(lake, store, NAME, beside=True)
            if name == "seen_2":
                switch(store)
    add(table, [row(1, at=3, ctr=0.25)])
    return table


ACTS: dict[str, Act] = {"switch": switch, "rollback": rollback, "retire": retire_former}


@pytest.mark.parametrize("act", ACTS)
def test_a_publication_does_not_undo_what_moves_versions_meanwhile(
    act: str, lake: Lake, view: Views, settings: Settings
) -> None:
    three_definitions(lake, view)
    with SQLiteOnlineStore(settings.online_store) as store:
        before = columns(store)
        assert set(before) == {"served", "next", "former"}
        with Watched(settings, ACTS[act]) as watched:
            publish_versions(lake, watched, NAME, beside=True)
        assert (
            columns(store)
            == {
                "switch": {"served": before["next"], "former": before["served"]},
                "rollback": {
                    "served": before["former"],
                    "next": before["next"],
                },  # as it is declared
                "retire": {"served": before["served"], "next": before["next"]},
            }[act]
        )
        assert {row.values[:2] for row in store.get(VIEW, [("all", 1)]) if row} == {(0.25, 3)}


def test_a_publication_whose_versions_move_each_time_is_overtaken(
    lake: Lake, view: Views, settings: Settings
) -> None:
    three_definitions(lake, view)

    def there_and_back(store: SQLiteOnlineStore) -> None:
        (rollback if len(columns(store)["served"]) == 3 else switch)(store)

    with SQLiteOnlineStore(settings.online_store) as store:
        apply_retire(store, versions_of(store, VIEW)["next"])
    with (
        Watched(settings, there_and_back, times=100) as store,
        pytest.raises(PublicationOvertakenError),
    ):
        publish_versions(lake, store, NAME, beside=True)


def test_a_publication_of_windows_does_not_undo_a_switch_meanwhile(
    lake: Lake, settings: Settings
) -> None:
    with SQLiteOnlineStore(settings.online_store) as plain:
        world = World(lake, plain, random.Random(3))
        world.arrive(6)
        world.publish()
        other = windows_of(hop="5s")
        name = TableName.parse(other.view)
        publish_versions(lake, plain, name, windows=other, beside=True, as_of=world.clock)
        world.tick(3)
        world.arrive(6)

    def switch_windows(store: SQLiteOnlineStore) -> None:
        apply_move(store, plan_switch(str(name), versions_of(store, str(name))))

    with Watched(settings, switch_windows) as store:
        publish_versions(lake, store, name, windows=other, beside=True, as_of=world.clock)
        found = {
            version: windows_of_state(each)
            for version, each in versions_of(store, str(name)).items()
        }
    assert found == {"served": other, "former": world.windows}


def test_a_switch_is_refused_where_the_served_version_went_ahead_since_the_plan(
    lake: Lake, view: Views, settings: Settings
) -> None:
    table = three_definitions(lake, view)
    with SQLiteOnlineStore(settings.online_store) as store:
        planned = plan_switch(VIEW, versions_of(store, VIEW))
        served = planned.before["served"]
        publish_target(lake, store, table.head(), one(served, table))
        before = versions_of(store, VIEW)
        with refused(VersionNotReadyError, reason=VersionReason.BEHIND):
            apply_move(store, planned)
        assert versions_of(store, VIEW) == before


def one(state: ViewState, table: LakeTable) -> Target:
    found = Target.as_published(state, table.head())
    assert found is not None
    return found
