"""The registry's schema version: old registries are adopted, newer ones refused, once for all."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from headrace.errors import DatabaseUnavailableError, NotARegistryError, RegistryNewerError
from headrace.registry import (
    CommitRecord,
    Measure,
    Registry,
    SealedSource,
    address_of,
    migrations,
    prepare_sqlite,
)
from headrace.registry.migrations import MIGRATIONS, NEWEST, Migration
from headrace.registry.schema import METADATA
from tests.processes import CONTEXT
from tests.registry.conftest import database

UNVERSIONED = Path(__file__).with_name("unversioned.sql")
PROCESSES, WAIT_S = 3, 120


def make_unversioned(uri: str) -> None:
    with database(uri).begin() as connection:
        for statement in UNVERSIONED.read_text().split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def tables_of(uri: str) -> set[str]:
    return set(sa.inspect(database(uri)).get_table_names())


def versions_of(uri: str) -> list[int]:
    query = sa.text("select version from schema_version order by version")
    with database(uri).connect() as connection:
        return list(connection.execute(query).scalars())


def test_a_registry_without_a_version_keeps_all_that_it_holds(uri: str) -> None:
    make_unversioned(uri)
    with closing(Registry(uri)) as registry:
        first, third = registry.commit("raw.a", 1), registry.commit("raw.a", 3)
        assert first is not None
        assert (first.partitions, first.moves) == (
            ('["2024-05-01"]',),
            '{"headrace.offsets.s":[null,"{}"]}',
        )
        assert third is not None
        assert (third.moves, third.origins) == ('{"owner":["a","b"]}', ("audit x", "snapshot 9"))
        assert [each.snapshot_id for each in registry.commits("raw.a")] == [2, 1]
        assert registry.commits("raw.a")[0].run_id == "run's"
        (edge,) = registry.edges()
        assert (edge.source, edge.source_snapshot_id, edge.target) == ("raw.a", 2, "features.f")
        assert registry.builds("features.f")['["2024-05-01"]'].watermarks == {"raw.a": 7}
        assert registry.measures("raw.a") == {"orphan_bytes": Measure(value=10, measured_at_ms=1)}
        assert [(each.name, each.state) for each in registry.datasets()] == [("ctr", "published")]
        assert registry.lease_holders("raw.a") == {"l1": "me"}
        assert [each.pid for each in registry.writes()] == [1]
        assert registry.sources.find(12, ["a.csv", "b.csv"]) == {
            "a.csv": SealedSource("a.csv", 3, 30, "f1", 5, 6),
            "b.csv": SealedSource("b.csv", 4, 40, "f2"),
        }
    assert versions_of(uri) == [*range(1, NEWEST + 1)]


@pytest.mark.parametrize("is_old", [False, True])
def test_migrations_end_with_the_schema_that_the_code_declares(uri: str, is_old: bool) -> None:
    if is_old:
        make_unversioned(uri)
    Registry(uri).close()
    found = sa.inspect(database(uri))
    assert tables_of(uri) == {*METADATA.tables, "schema_version"}
    for name, table in METADATA.tables.items():
        columns = {each["name"]: each for each in found.get_columns(name)}
        assert {key: (str(c["type"]), c["nullable"]) for key, c in columns.items()} == {
            c.name: (str(c.type.compile(database(uri).dialect)), bool(c.nullable))
            for c in table.columns
        }
        key = found.get_pk_constraint(name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key]
        indexes = {each["name"]: each["column_names"] for each in found.get_indexes(name)}
        assert indexes == {
            index.name: [column.name for column in index.columns] for index in table.indexes
        }


def _open_and_record(uri: str, number: int) -> None:
    with closing(Registry(uri, wait_s=WAIT_S)) as registry:
        record = CommitRecord(
            table="raw.n",
            snapshot_id=number,
            parent_id=None,
            sequence_number=number,
            committed_at_ms=number,
            operation="append",
        )
        assert registry.record_commit(record)


@pytest.mark.parametrize("is_old", [False, True])
def test_processes_that_open_a_registry_at_once_migrate_it_once(uri: str, is_old: bool) -> None:
    if is_old:
        make_unversioned(uri)
    started = [
        CONTEXT.Process(target=_open_and_record, args=(uri, number)) for number in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(WAIT_S)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    assert versions_of(uri) == [*range(1, NEWEST + 1)]
    with closing(Registry(uri)) as registry:
        assert len(registry.commits("raw.n")) == PROCESSES


def test_a_registry_newer_than_the_code_is_refused_and_not_changed(uri: str) -> None:
    Registry(uri).close()
    with database(uri).begin() as connection:
        connection.exec_driver_sql(f"insert into schema_version values ({NEWEST + 5}, 1)")
    before = tables_of(uri)
    with pytest.raises(RegistryNewerError) as caught:
        Registry(uri)
    assert (caught.value.found, caught.value.known) == (NEWEST + 5, NEWEST)
    assert tables_of(uri) == before


def test_tables_of_another_program_are_refused_and_not_changed(uri: str) -> None:
    with database(uri).begin() as connection:
        connection.exec_driver_sql("create table commits (id integer)")
    with pytest.raises(NotARegistryError) as caught:
        Registry(uri)
    assert caught.value.table == "commits"
    assert tables_of(uri) == {"commits"}


def test_a_migration_that_fails_leaves_the_registry_as_it_was(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unversioned(uri)
    before = tables_of(uri)
    broken = Migration(version=NEWEST + 1, statements=("drop table builds", "create table ("))
    with monkeypatch.context() as patch:  # there is no other way to a migration that fails
        patch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
        patch.setattr(migrations, "NEWEST", broken.version)
        with pytest.raises((DatabaseUnavailableError, ProgrammingError)):
            Registry(uri)
    assert tables_of(uri) == before
    Registry(uri).close()
    assert versions_of(uri) == [*range(1, NEWEST + 1)]


def test_versions_of_migrations_are_their_order() -> None:
    assert [each.version for each in MIGRATIONS] == list(range(1, NEWEST + 1))


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:s3cret@there:5432/lake",
        "postgresql://me@there/lake?password=s3cret&connect_timeout=5",
        "postgresql://me@there/lake?sslpassword=s3cret",
    ],
)
def test_the_address_of_a_registry_names_the_database_and_no_password(uri: str) -> None:
    assert "there" in address_of(uri)
    assert "s3cret" not in address_of(uri)


def test_a_database_that_another_writes_becomes_one_with_a_log_when_that_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as writer:
        writer.execute("create table kept (value)")
        writer.execute("begin immediate")
        writer.execute("insert into kept values (1)")
        ended = threading.Timer(0.3, writer.rollback)
        ended.start()
        with closing(sqlite3.connect(path)) as found:
            prepare_sqlite(found, None)
            (mode,) = found.execute("pragma journal_mode").fetchone()
        ended.join()
    assert mode == "wal"
