"""Databases whose errors have names, and that keep what was committed."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

from headrace.errors import DatabaseUnavailableError


def name_errors(engine: sa.Engine, database: str) -> Callable[[], None]:
    """Let a locked, full or unreachable database raise `DatabaseUnavailableError`.

    Broken constraints and wrong SQL stay what they are: callers and bugs need to be told apart.
    What is returned undoes it.
    """

    def name_error(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, OperationalError | InterfaceError) or (
            type(error) is DatabaseError  # a damaged file
        ):
            raise DatabaseUnavailableError(database, str(context.original_exception))

    sqlalchemy.event.listen(engine, "handle_error", name_error)
    return lambda: sqlalchemy.event.remove(engine, "handle_error", name_error)


def prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Let readers not block writers, and let what was committed survive a power cut.

    With less than `full` the last transactions may be undone: a reported commit, or the record of
    a snapshot whose expiry is durable in the catalog already.
    """
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")


def prepare_passing(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Let what is committed be lost in a power cut, which saves waiting for the disk."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
