"""What a catalog knows is found also while tables are renamed, dropped and made."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from headrace.api import Lake
from headrace.errors import CleanupReason, CleanupRefusedError
from headrace.maintenance.cleanup.known_tables import known_tables
from tests.raising import refused
from tests.tables.factories import events_table

Name: TypeAlias = tuple[str, ...]
Act: TypeAlias = Callable[[Name, Sequence[Name]], None]


@pytest.fixture
def lake(lake: Lake) -> Lake:
    for name in ("a.one", "b.two"):
        events_table(lake, name)
    return lake


def names(lake: Lake) -> set[str]:
    return {each.name for each in known_tables(lake.catalog, asked_for="a.one")}


def after_listing(lake: Lake, patch: pytest.MonkeyPatch, act: Act, *, times: int = 1) -> None:
    """Let something happen right after the catalog listed a namespace, as often as this."""
    plain, left = lake.catalog.list_tables, [None] * times

    def answered(namespace: str | Name) -> list[Name]:
        found = plain(namespace)
        if left:
            left.pop()
            act(tuple(namespace), found)
        return found

    patch.setattr(lake.catalog, "list_tables", answered)


def test_a_table_that_moves_to_a_namespace_that_was_listed_already_is_known(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(namespace: Name, found: Sequence[Name]) -> None:
        (other,) = {("a", "one"), ("b", "two")} - set(found)
        lake.catalog.rename_table(other, (*namespace, "moved"))

    after_listing(lake, monkeypatch, move)
    assert len(names(lake)) == 2
    assert any(name.endswith(".moved") for name in names(lake))


def test_a_table_that_is_dropped_meanwhile_refuses_no_clean_up(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(namespace: Name, found: Sequence[Name]) -> None:
        lake.catalog.drop_table(found[0])
        lake.catalog.drop_namespace(namespace)

    after_listing(lake, monkeypatch, drop)
    assert len(names(lake)) == 1
    assert len(lake.names()) == 1


@pytest.mark.parametrize("goes", [True, False])
def test_tables_that_come_at_every_look_are_not_taken_for_all(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, goes: bool
) -> None:
    made, catalog = iter(range(1_000)), lake.catalog

    def come(namespace: Name, found: Sequence[Name]) -> None:
        if namespace == ("a",):
            location = catalog.load_table(found[0]).metadata_location
            catalog.register_table(("a", f"t{next(made)}"), location)
            if goes:
                catalog.drop_table(found[0])

    after_listing(lake, monkeypatch, come, times=1_000)
    with refused(CleanupRefusedError, reason=CleanupReason.OTHER_TABLE_UNREADABLE):
        names(lake)


def test_a_namespace_that_is_dropped_while_tables_are_listed_hides_no_other(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.catalog.create_namespace("c")
    plain = lake.catalog.list_namespaces

    def then_dropped(*asked: str | Name) -> list[Name]:
        found = plain(*asked)
        if ("c",) in found:
            lake.catalog.drop_namespace("c")
        return found

    monkeypatch.setattr(lake.catalog, "list_namespaces", then_dropped)
    assert [str(each) for each in lake.names()] == ["a.one", "b.two"]
    assert names(lake) == {"a.one", "b.two"}
