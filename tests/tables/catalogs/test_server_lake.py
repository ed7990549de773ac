"""A lake whose catalog and registry are on one PostgreSQL server, as hosts share it."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog

from headrace import clock
from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    DatabaseDeniedError,
    DatabaseUnavailableError,
    LakeIncompleteError,
    LakeNotFoundError,
    PooledSessionsError,
    TablesElsewhereError,
    WriteLapsedError,
)
from headrace.registry import closed_connections
from headrace.tables import intents
from headrace.tables.commits import attempt, operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.refs.leases import lease, leases
from headrace.tables.refs.refs import tag
from headrace.tables.writer import write_batches
from tests.pooler import pooling
from tests.postgres import postgres
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow

NAME = "raw.events"
FIRST_STARTS, THREADS, WAIT_S = 8, 40, 300
AHEAD_S = 300.0


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    """An empty database of the test's own, with the administrator's rights."""
    name = f"lake_{abs(hash(request.node.name)) % 10**12}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    yield sa.make_url(server).set(database=name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"drop database {name} with (force)")


@pytest.fixture
def host(database: sa.URL, tmp_path: Path) -> Callable[..., Settings]:
    """Make the settings of a host: its state folder is its own, all else is shared."""

    def settings_of(name: str, url: sa.URL = database) -> Settings:
        file = tmp_path / "lake" / "lake.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text("[profiles.local]\n")
        env = {
            "HEADRACE_CATALOG_URI": url.render_as_string(hide_password=False),
            "HEADRACE_WAREHOUSE": str(tmp_path / "warehouse"),
            "HEADRACE_STATE_DIR": str(tmp_path / name),
        }
        return Settings.load(env=env, path=file)

    return settings_of


def sql(url: sa.URL, *statements: str) -> list[Any]:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(each) for each in statements]
        return list(found[-1]) if found[-1].returns_rows else []


def _at_once(tasks: Sequence[Callable[[], object]]) -> None:
    """Run tasks in threads that share nothing but what is given to them; raise what one raises."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], object]) -> None:
        barrier.wait(WAIT_S)
        task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(run, task) for task in tasks]:
            done.result(WAIT_S)


def _open_and_add(settings: Settings, number: int) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [number])


def test_hosts_that_share_the_servers_share_the_lake(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with pytest.raises(LakeNotFoundError) as caught:
        Lake.existing(host("one"))
    assert str(database.password) not in str(caught.value)
    with Lake.open(host("one")) as one, Lake.open(host("two")) as two:
        add(events_table(one), [1])
        add(two.table(NAME), [2])
        assert ids_of(one.table(NAME)) == [1, 2]
        assert [each.rows_added for each in one.registry.commits(NAME)] == [1, 1]
    assert not host("one").catalog_file.exists()
    assert not host("one").registry_file.exists()
    schemas = sql(database, "select distinct schemaname, tablename from pg_tables")
    assert ("public", "iceberg_tables") in schemas
    assert ("headrace", "commits") in schemas


def test_many_first_starts_at_once_make_one_lake(host: Callable[..., Settings]) -> None:
    _at_once([partial(_open_and_add, host(f"host {n}"), n) for n in range(FIRST_STARTS)])
    with Lake.existing(host("reader")) as lake:
        assert ids_of(lake.table(NAME)) == list(range(FIRST_STARTS))


def test_a_database_lost_beside_a_full_warehouse_is_not_made_again(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with Lake.open(host("one")) as lake:
        add(events_table(lake), [1])
    sql(database, "drop schema headrace cascade")
    with pytest.raises(LakeIncompleteError) as caught:
        Lake.open(host("one"))
    assert "search_path" in caught.value.missing
    sql(database, "drop table iceberg_tables")
    with pytest.raises(LakeIncompleteError):
        Lake.open(host("one"))


def test_tables_of_another_warehouse_are_refused(
    host: Callable[..., Settings], tmp_path: Path
) -> None:
    with Lake.open(host("one")) as lake:
        add(events_table(lake), [1])
    moved = replace(host("one"), declared_warehouse=f"file://{tmp_path}/copy")
    with pytest.raises(TablesElsewhereError):
        Lake.open(moved)


def test_a_lock_whose_session_is_killed_does_not_fail_the_commit(
    host: Callable[..., Settings], database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(host("one")) as lake:
        table = events_table(lake)
        killed: list[Any] = []

        def crash_point(name: str) -> None:
            if name == "commit.after_swap":
                killed.extend(
                    sql(
                        database,
                        "select pg_terminate_backend(pid) from pg_locks"
                        " where locktype = 'advisory' and granted",
                    )
                )

        monkeypatch.setattr(attempt, "crash_point", crash_point)
        add(table, [1])
        monkeypatch.undo()
        assert killed == [(True,)]
        add(table, [2])
        assert ids_of(table) == [1, 2]


def test_commits_do_not_depend_on_the_isolation_that_a_role_has_by_default(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with Lake.open(host("one")) as lake:
        events_table(lake)
    sql(
        database,
        f"alter database {database.database} set default_transaction_isolation = 'serializable'",
    )
    _at_once([partial(_open_and_add, host(f"host {n}"), n) for n in range(3)])
    with Lake.existing(host("one")) as lake:
        for engine in (lake.catalog.engine, lake.registry.engine):  # type: ignore[attr-defined]
            with engine.connect() as connection:
                level = connection.scalar(sa.text("show transaction_isolation"))
                assert level == "read committed"
        assert ids_of(lake.table(NAME)) == list(range(3))


def test_threads_do_not_wait_for_each_other_s_connections(host: Callable[..., Settings]) -> None:
    with Lake.open(host("one")) as lake:
        table = events_table(lake)
        _at_once([partial(add, table, [n]) for n in range(THREADS)])
        assert ids_of(table) == list(range(THREADS))


def test_what_the_server_closed_is_opened_again(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with Lake.open(host("one")) as lake:
        table = events_table(lake)
        add(table, [1])
        sql(
            database,
            "select pg_terminate_backend(pid, 30000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()",
        )
        assert ids_of(table) == [1]
        add(table, [2])
        assert [each.rows_added for each in lake.registry.commits(NAME)] == [1, 1]


def test_only_connections_that_were_closed_or_long_idle_are_asked_whether_they_are_there(
    host: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = closed_connections.ask

    def counting(connection: object) -> None:
        asked.append(1)
        ask(connection)

    monkeypatch.setattr(closed_connections, "ask", counting)
    with Lake.open(host("one")) as lake:
        table = events_table(lake)
        add(table, [1])
        asked.clear()
        add(table, [2])
        assert asked == []
        monkeypatch.setattr(closed_connections, "IDLE_S_MAX", 0.0)
        add(table, [3])
        assert asked
        assert ids_of(table) == [1, 2, 3]


def test_a_pooler_that_shares_sessions_is_refused_by_name(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with Lake.open(host("one")) as lake:
        add(events_table(lake), [1])
    with pooling(database.render_as_string(hide_password=False)) as uri:
        engine = sa.create_engine(uri, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("select 1")) == 1
        with (
            Lake.open(replace(host("two"), catalog_server=_secret(uri))) as lake,
            pytest.raises(PooledSessionsError) as caught,
        ):
            add(lake.table(NAME), [2])
        assert str(database.password) not in str(caught.value)
    with Lake.open(host("one")) as lake:
        assert ids_of(lake.table(NAME)) == [1]


def _secret(uri: str) -> Any:  # noqa: ANN401 - a secret, whose class is slow to import
    from headrace.servers import secret

    return secret(uri)


def test_lakes_in_schemas_of_one_database_do_not_meet_and_old_catalogs_stay(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    of = {
        name: database.update_query_dict({"options": f"-csearch_path={name}"})
        for name in ("old", "new")
    }
    sql(
        database,
        "create schema old",
        "create table old.iceberg_tables (catalog_name varchar(255), table_namespace varchar(255),"
        " table_name varchar(255), metadata_location varchar(1000),"
        " previous_metadata_location varchar(1000),"
        " primary key (catalog_name, table_namespace, table_name))",
        "create table old.iceberg_namespace_properties (catalog_name varchar(255),"
        " namespace varchar(255), property_key varchar(255), property_value varchar(1000),"
        " primary key (catalog_name, namespace, property_key))",
    )
    for number, (name, url) in enumerate(of.items()):
        settings = host(name, url)
        apart = replace(
            settings,
            declared_warehouse=f"{settings.warehouse_uri}/{name}",
            registry_server=_secret(
                database.update_query_dict(
                    {"options": f"-csearch_path=registry_{name}"}
                ).render_as_string(hide_password=False)
            ),
        )
        with Lake.open(apart) as lake:
            add(events_table(lake), [number])
            assert ids_of(lake.table(NAME)) == [number]
    columns = (
        "select table_schema from information_schema.columns where column_name = 'iceberg_type'"
    )
    assert sql(database, columns) == [("new",)]


def test_commits_of_a_host_whose_clock_is_ahead_have_the_time_of_the_server(
    host: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_ms, real_ns = clock.now_ms, time.time_ns
    with Lake.open(host("ahead")) as lake:
        monkeypatch.setattr(clock, "now_ms", lambda: real_ms() + int(AHEAD_S * 1000))
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(AHEAD_S * 1e9))
        table = events_table(lake)
        first = add(table, [1])
        tag(table, "kept", snapshot_id=first.snapshot_id)
        held = lease(table, holder="me", ttl_s=100)
        add(table, [2])
        metadata = table.iceberg().metadata
        (write,) = _announced(lake)
        monkeypatch.undo()
        latest_ms = real_ms() + 1000
        assert metadata.last_updated_ms <= latest_ms
        assert max(each.timestamp_ms for each in metadata.snapshots) <= latest_ms
        assert max(each.timestamp_ms for each in metadata.snapshot_log) <= latest_ms
        assert write.started_at_ms <= latest_ms
        assert 0 < held.expires_at.timestamp() - time.time() <= 101
        assert [each.id for each in leases(table)] == [held.id]


def _announced(lake: Lake) -> list[Any]:
    write_batches(lake.table(NAME), [events([9])])
    return lake.registry.writes()


@pytest.mark.parametrize("skew_s", [-600, 600])
def test_the_server_s_clock_decides_whether_a_writer_of_another_host_is_dead(
    host: Callable[..., Settings], database: sa.URL, monkeypatch: pytest.MonkeyPatch, skew_s: int
) -> None:
    with Lake.open(host("one")) as one, Lake.open(host("two")) as two:
        table = events_table(one)
        files = write_batches(table, [events([1])])
        sql(database, "update headrace.writes set host = 'another'")
        real_ms = clock.now_ms
        monkeypatch.setattr(clock, "now_ms", lambda: real_ms() + skew_s * 1000)
        assert len(intents.unfinished(two.registry).live) == 1
        sql(
            database,
            "update headrace.writes set renewed_at_ms = renewed_at_ms - 700000,"
            " started_at_ms = started_at_ms - 700000",
        )
        assert len(intents.unfinished(two.registry).dead) == 1
        with pytest.raises(WriteLapsedError):
            operations.append(table, files, provenance=Provenance())
        assert ids_of(table) == []
        assert one.registry.writes() == []
        add(table, [2])
        assert ids_of(table) == [2]


def test_tables_that_trino_or_others_made_are_tables_of_the_lake(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    settings = host("one")
    Lake.open(settings).close()
    uri = database.render_as_string(hide_password=False)
    with contextlib.closing(
        SqlCatalog("lake", uri=uri, warehouse=settings.warehouse_uri)
    ) as catalog:
        catalog.create_namespace("raw")
        catalog.create_table("raw.theirs", pa.schema([pa.field("id", pa.int64())]))
        with Lake.open(settings) as lake:
            assert [str(name) for name in lake.names()] == ["raw.theirs"]
            add(events_table(lake), [1])
        assert catalog.load_table(NAME).scan().to_arrow()["id"].to_pylist() == [1]


def test_a_role_that_may_only_read_reads_and_is_refused_by_name_what_it_may_not(
    host: Callable[..., Settings], database: sa.URL
) -> None:
    with Lake.open(host("one")) as lake:
        add(events_table(lake), [1])
    role = f"reader_of_{database.database}"
    sql(
        database,
        f"create role {role} login password 'hidden'",
        f"grant usage on schema public, headrace to {role}",
        f"grant select on all tables in schema public, headrace to {role}",
    )
    reader = host("reader", database.set(username=role, password="hidden"))
    with Lake.existing(reader) as lake:
        table = lake.table(NAME)
        assert ids_of(table) == [1]
        with pytest.raises(DatabaseDeniedError):
            add(table, [2])
        head = table.head().snapshot_id
        assert head is not None
        with pytest.raises(DatabaseDeniedError):
            tag(table, "mine", snapshot_id=head)
        assert ids_of(table) == [1]
    sql(database, f"drop owned by {role}", f"drop role {role}")


def test_a_server_that_is_not_there_is_named(host: Callable[..., Settings]) -> None:
    nowhere = sa.make_url("postgresql://me:hidden@127.0.0.1:9/lake")
    with pytest.raises(DatabaseUnavailableError) as caught:
        Lake.open(host("one", nowhere))
    assert caught.value.database in ("catalog", "registry")
    assert "hidden" not in str(caught.value)
