"""Transactions of one statement: the server is sent the statement alone, and keeps what it promises."""

from collections.abc import Iterator
from pathlib import Path

import psycopg2.extensions
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from headrace.api import Lake
from headrace.config import Settings
from headrace.registry.databases import open_engine
from headrace.registry.one_statement import changing, reading
from tests.servers import new_database, on_servers
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow
_STATE = sa.text("select current_setting('transaction_isolation'), pg_backend_pid()")


@pytest.fixture
def database(server: str) -> Iterator[sa.URL]:
    with new_database(server) as made:
        yield made


@pytest.fixture
def engine(database: sa.URL) -> Iterator[sa.Engine]:
    opened = open_engine(database.render_as_string(hide_password=False), wait_s=30)
    yield opened
    opened.dispose()


def rollbacks(database: sa.URL) -> int:
    """How many transactions ended without a commit: every query that begins one and only reads."""
    engine = sa.create_engine(database.set(database="postgres"), poolclass=sa.NullPool)
    query = sa.text("select xact_rollback from pg_stat_database where datname = :name")
    with engine.connect() as connection:
        return int(connection.execute(query, {"name": database.database}).scalar_one())


def test_a_commit_begins_no_transaction_to_read(
    settings: Settings, database: sa.URL, tmp_path: Path
) -> None:
    settings = on_servers(settings, database, folder=tmp_path / "warehouse")
    with Lake.open(settings) as lake:
        add(events_table(lake), [0])
    spent: list[int] = []
    for commits in (1, 6):
        before = rollbacks(database)
        with Lake.open(settings) as lake:  # sessions tell their counts when they end
            table = lake.table("raw.events")
            for number in range(commits):
                add(table, [number])
        spent.append(rollbacks(database) - before)
    assert spent[0] == spent[1]


def test_what_a_statement_changed_is_committed_and_an_error_leaves_nothing(
    engine: sa.Engine,
) -> None:
    table = sa.Table("one", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))
    table.create(engine)
    with changing(engine) as connection:
        connection.execute(sa.insert(table), {"n": 1})
    with pytest.raises(IntegrityError), changing(engine) as connection:
        connection.execute(sa.insert(table), {"n": 1})
    with reading(engine) as connection:
        assert connection.execute(sa.select(table)).all() == [(1,)]
    # afterwards a connection has transactions again
    with engine.connect() as connection:
        connection.execute(sa.insert(table), {"n": 2})
        connection.rollback()
    with reading(engine) as connection:
        assert connection.execute(sa.select(table)).all() == [(1,)]


def test_a_statement_alone_has_the_isolation_of_others_and_sends_nothing_else(
    engine: sa.Engine,
) -> None:
    with engine.connect() as connection:
        expected = connection.execute(_STATE).one()
    for _ in range(2):
        with reading(engine) as connection:
            assert connection.execute(_STATE).one() == expected
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, psycopg2.extensions.connection)
            # any other would be set again, by a statement, whenever one was sent alone
            assert driver.isolation_level is psycopg2.extensions.ISOLATION_LEVEL_DEFAULT
    assert expected[0] == "read committed"
