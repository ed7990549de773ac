"""Transactions of one statement, which a PostgreSQL server is not asked to begin and to end.

The driver sends `begin`, the statement and `commit` or `rollback` one after the other and waits for
each answer. A statement that is sent alone is a transaction of its own, with the same guarantees.
"""

import contextlib
from collections.abc import Generator
from typing import Any

import sqlalchemy as sa


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Generator[sa.Connection]:
    """Connect for one query.

    Raises:
        DatabaseUnavailableError: If the database does not answer.

    """
    with engine.connect() as connection, _alone(connection):
        yield connection


@contextlib.contextmanager
def changing(engine: sa.Engine) -> Generator[sa.Connection]:
    """Connect for one statement that changes rows; they are committed when this ends.

    Raises:
        DatabaseUnavailableError: If the database does not answer: it may be committed.

    """
    with engine.begin() as connection, _alone(connection):
        yield connection


@contextlib.contextmanager
def _alone(connection: sa.Connection) -> Generator[None]:
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    # nothing is sent for it, as sessions keep the isolation they begin with
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False
