"""The time by the clock of a database server, which hosts of one lake share."""

import time

import sqlalchemy as sa

from headrace import clock
from headrace.registry.one_statement import reading

_ASK_EVERY_S = 30.0  # in between, the host's monotonic clock counts on
_SERVER_MS = sa.literal_column(
    "floor(extract(epoch from statement_timestamp()) * 1000)::bigint", sa.BigInteger
)
_ASKED_MS = sa.select(_SERVER_MS)


class ServerClock:
    """Tells the time of a PostgreSQL server; of another database, that of this host.

    Hosts whose clocks differ would order commits wrongly, and engines refuse a table whose newest
    change lies more than a minute in their future.

    Args:
        engine: The database.

    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._asked: tuple[int, float] | None = None  # what it said, and when

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch.

        Raises:
            DatabaseUnavailableError: If the server has never answered.

        """
        if self._engine.dialect.name != "postgresql":
            return clock.now_ms()
        asked = self._asked
        if asked is None or time.monotonic() - asked[1] > _ASK_EVERY_S:
            asked = self._asked = (self.asked_ms(), time.monotonic())
        said_ms, at_s = asked
        return said_ms + int((time.monotonic() - at_s) * 1000)

    def asked_ms(self) -> int:
        """Ask the server for its time, whatever it said before.

        Raises:
            DatabaseUnavailableError: If it does not answer.

        """
        if self._engine.dialect.name != "postgresql":
            return clock.now_ms()
        with reading(self._engine) as connection:
            return int(connection.execute(_ASKED_MS).scalar_one())

    def told_ms(self) -> sa.ColumnElement[int]:
        """Return the time for use in a statement, as the server tells it when it gets that."""
        if self._engine.dialect.name != "postgresql":
            return sa.literal(clock.now_ms(), sa.BigInteger)
        return _SERVER_MS
