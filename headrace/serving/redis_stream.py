"""Runs one script of Redis again and again: the server works while the next arguments are made."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from headrace.serving.redis_client import RedisClient, ServerError, Turn


class ScriptStream:
    """Sends the runs of one writer on a connection of its own, at most one without its answer.

    A run that fails in any way is repeated by `RedisClient.run`, which names the error: the script has
    to be one that may run twice.
    """

    def __init__(self, server: RedisClient, script: str, view: str, turn: Turn) -> None:
        self._server, self._script, self._view, self._turn = server, script, view, turn
        self._sent: Sequence[object] | None = None

    def __enter__(self) -> Self:
        """Take a connection.

        Raises:
            DatabaseUnavailableError: If there is none.

        """
        with self._server.naming():
            self._connection: Any = self._server.commands.connection_pool.get_connection()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Give the connection back, without an answer on it that belongs to nobody."""
        if self._sent is not None:
            # the turn must not end before: a run that comes later would take it again
            self._read()
        self._server.commands.connection_pool.release(self._connection)

    def send(self, arguments: Sequence[object]) -> int:
        """Begin a run; return the answer to the one before, or 0."""
        answer = self.ended()
        command = packed_command(
            self._server.call_of(self._script, self._view, self._turn, arguments)
        )
        self._sent = arguments
        try:
            self._connection.send_packed_command([command])
        except ServerError:
            self._connection.disconnect()
        return answer

    def ended(self) -> int:
        """Wait for the run that has no answer yet, and return it; 0 if there is none.

        Raises:
            PublicationOvertakenError: If another writer began in between.
            DatabaseUnavailableError: If the server cannot be used.

        """
        if self._sent is None:
            return 0
        arguments = self._sent
        answer = self._read()
        if answer is None:
            answer = self._server.run(self._script, self._view, self._turn, *arguments)
        return int(answer)

    def _read(self) -> int | None:
        """Read the answer; None if there is none, or an error."""
        self._sent = None
        try:
            return int(self._connection.read_response())
        except ServerError:
            self._connection.disconnect()
            return None


def packed_command(parts: Iterable[object]) -> bytes:
    """Write a command as the protocol has it, in one piece."""
    texts = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    head = b"*%d\r\n" % len(texts)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in texts])
