"""Notices that the server has closed a connection before it is used, mostly without asking it.

A commit takes a connection from the pool a dozen times, and to ask the server each time whether it
is still there costs as much as the statements. A connection that was closed can be read from: the
end, or the server's reason. Only such a one, and one that has been idle for long, as a firewall may
have forgotten it, is asked.
"""

import select
import time
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
import sqlalchemy.exc

IDLE_S_MAX = 30.0
_USED_S = "headrace_used_s"


def notice_closed(engine: sa.Engine) -> None:
    """Let the pool of a PostgreSQL engine replace connections that were closed while they were idle."""
    failed: Any = engine.dialect.dbapi.Error  # pyright: ignore[reportOptionalMemberAccess]

    def checked_in(connection: Any, record: Any) -> None:  # noqa: ANN401 - a DBAPI connection
        _ = connection
        record.info[_USED_S] = time.monotonic()

    def checked_out(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401 - as above
        idle_s = time.monotonic() - record.info.get(_USED_S, time.monotonic())
        try:
            if idle_s >= IDLE_S_MAX or can_be_read(connection.fileno()):
                ask(connection)
        except failed as error:
            raise sqlalchemy.exc.DisconnectionError from error

    sqlalchemy.event.listen(engine, "checkin", checked_in)
    sqlalchemy.event.listen(engine, "checkout", checked_out)


def can_be_read(number: int) -> bool:
    """Whether something, or the end, has come on a connection that nobody waits for."""
    looking = select.poll()
    looking.register(number, select.POLLIN)
    return bool(looking.poll(0))


def ask(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection
    """Ask the server whether it is there; the driver raises an error if it is not."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    if not connection.autocommit:
        connection.rollback()
