"""The time by the clock of a database server, which hosts of one lake share."""

import time

import sqlalchemy as sa

from headrace import clock

_ASK_EVERY_S = 30.0  # in between, the host's monotonic clock counts on
_SERVER_MS = sa.text("select floor(extract(epoch from clock_timestamp()) * 1000)::bigint")


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
        with self._engine.connect() as connection:
            return int(connection.execute(_SERVER_MS).scalar_one())
