"""A Redis server as the online store needs it: keys of views, turns of writers, errors by name."""

import secrets
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as LateError
from redis.retry import Retry

from headrace.errors import (
    DatabaseUnavailableError,
    OnlineStoreClusterError,
    OnlineStoreError,
    OnlineStoreEvictsError,
    OnlineStoreFullError,
    PublicationOvertakenError,
)
from headrace.serving import redis_scripts as scripts
from headrace.serving.redis_rows import STATE
from headrace.serving.stored_names import view_named

ServerError = RedisError  # whatever the client raises of the server and the way to it
FORMAT_VERSION = 1
_DATABASE = "online store"  # its name in errors
_WAIT_S = 30.0
_POLL_S = 0.02
_SCAN_ROWS = 1_000
_FIELDS = (*STATE, "rows", "generation")
_TURN_MS = 30_000  # a writer that is silent for longer may be overtaken, and then notices


@dataclass(frozen=True)
class Turn:
    """The right to write a view; `number` is greater than that of every turn before."""

    token: str
    number: int


class RedisClient:
    """One server, and the keys of one store on it.

    Args:
        url: As redis-py takes it.
        prefix: Of every key.
        answer_s: How long to wait for an answer.
        retries: How often to ask again where the connection is lost or the answer late.

    """

    def __init__(self, url: str, *, prefix: str, answer_s: float, retries: int) -> None:
        self._prefix = prefix
        self._retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries)
        # redis-py's own types leave most open
        self.commands: Any = redis.Redis.from_url(
            url,
            socket_timeout=answer_s,
            socket_connect_timeout=answer_s,
            retry=self._retry,
            retry_on_error=[LostError, LateError],
            # by RESP3, redis-py 8.1.0 expects messages of the server at any time, and so takes an answer
            # that came too late for the one to the next question
            protocol=2,
            health_check_interval=0,  # in 8.1.0 a check that failed counts as one that passed
        )
        options = self.commands.connection_pool.connection_kwargs
        self.address = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        named = (scripts.TAKE_TURN, scripts.END_TURN, scripts.BEGIN_GENERATION)
        named += (
            scripts.WRITE,
            scripts.DROP,
            scripts.SET_NEWEST,
            scripts.RENAME,
            scripts.READ,
            scripts.NEWEST,
        )
        self._scripts = {text: self.commands.register_script(text) for text in named}

    @property
    def views_key(self) -> str:
        """The key of the set of published views."""
        return f"{self._prefix}:views"

    def key(self, view: str) -> str:
        """Return the key of a view's state; the braces keep all keys of its versions in one slot."""
        served = view_named(view)
        return f"{self._prefix}:{{{served}}}{view[len(served) :]}"

    def rows_key(self, view: str, generation: bytes) -> str:
        """Return the key of a view's rows."""
        return f"{self.key(view)}:rows:{generation.decode()}"

    def newest_key(self, view: str, generation: bytes) -> str:
        """Return the key of the newest times of a view's rows."""
        return f"{self.key(view)}:newest:{generation.decode()}"

    @contextmanager
    def turn_of(self, view: str) -> Generator[Turn]:
        """Wait for the turn to write a view.

        Raises:
            DatabaseUnavailableError: If another writer keeps it for longer than `_WAIT_S`.

        """
        token, deadline = secrets.token_hex(8), time.monotonic() + _WAIT_S
        with self.naming():
            asked = scripts.TAKE_TURN, [self.key(view)], [token, _TURN_MS]
            while not (number := int(self._call(*asked))):
                if time.monotonic() > deadline:
                    detail = f"another writer of `{view}` did not end within {_WAIT_S:g} s"
                    raise DatabaseUnavailableError(_DATABASE, detail)
                time.sleep(_POLL_S)
        try:
            yield Turn(token, number)
        finally:
            try:
                self._call(scripts.END_TURN, [self.key(view)], [token])
            except RedisError:  # what was written stands, and the turn ends by its time
                pass

    def run(self, script: str, view: str, turn: Turn, *arguments: object) -> Any:  # noqa: ANN401
        """Run a script that writes.

        Raises:
            PublicationOvertakenError: If another writer began in between.

        """
        held = [turn.token, turn.number, _TURN_MS]
        return self._run(script, view, [self.key(view)], [*held, *arguments])

    def call_of(
        self, script: str, view: str, turn: Turn, arguments: Sequence[object]
    ) -> tuple[object, ...]:
        """Return what `run` sends for a script that the server knows."""
        sha = self._scripts[script].sha
        held = (turn.token, turn.number, _TURN_MS)
        return ("EVALSHA", sha, 1, self.key(view), *held, *arguments)

    def rename(
        self, names: Sequence[str], turns: Sequence[Turn], moves: Sequence[tuple[str, str]]
    ) -> None:
        """Give views other names, in one step; `turns` are those of `names`.

        Raises:
            PublicationOvertakenError: If another writer began in between.

        """
        held = [part for turn in turns for part in (turn.token, turn.number)]
        places = [names.index(name) + 1 for move in moves for name in move]
        arguments = [_TURN_MS, *held, len(moves), *places]
        self._run(
            scripts.RENAME, view_named(names[0]), [self.key(name) for name in names], arguments
        )
        with self.naming():
            self.commands.sadd(self.views_key, *(new for _, new in moves))

    def _run(self, script: str, view: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:  # noqa: ANN401  (each script has a reply of its own)
        with self.naming():
            try:
                return self._call(script, keys, arguments)
            except ResponseError as error:
                if "FENCED" in str(error):
                    raise PublicationOvertakenError(view) from error
                raise

    def read(self, wanted: Sequence[tuple[str, str, Sequence[str]]]) -> list[Any]:
        """Read states and rows at one moment: three answers for each state's key, rows' key and keys.

        The rows are one text. One step: rows of a generation that was replaced in between would be gone.
        A script, and no MULTI, which a server refuses while it uses more memory than it may.
        """
        names = [name for state, rows, _ in wanted for name in (state, rows)]
        asked = ["\n".join(keys) for _, _, keys in wanted]
        arguments = [" ".join(_FIELDS), *asked]
        pool = self.commands.connection_pool
        connection: Any = pool.get_connection()
        try:
            # redis-py counts and times each command, and copies its arguments several times
            return self._retry.call_with_retry(
                lambda: self._ask(connection, scripts.READ, names, arguments),
                lambda _: connection.disconnect(),
            )
        except NoScriptError:
            return self._call(scripts.READ, names, arguments)
        finally:
            pool.release(connection)

    def newest(self, view: str, generation: bytes) -> Sequence[Any]:
        """Return how many rows a view has, and what is noted of the newest; a script, as `read` is."""
        keys = [self.rows_key(view, generation), self.newest_key(view, generation)]
        with self.naming():
            return self._call(scripts.NEWEST, keys, [])

    def _ask(
        self,
        connection: Any,  # noqa: ANN401  (redis-py's own types leave most open)
        script: str,
        keys: Sequence[str],
        arguments: Sequence[object],
    ) -> Any:  # noqa: ANN401  (as `_call`)
        """Run a script that the server knows; a connection whose answer was not read is closed."""
        try:
            sha = self._scripts[script].sha
            connection.send_command("EVALSHA", sha, len(keys), *keys, *arguments)
            return connection.read_response()
        except ResponseError:  # an answer
            raise
        except BaseException:
            connection.disconnect()
            raise

    def _call(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:  # noqa: ANN401  (each script has a reply of its own)
        """Run a script by its name; by its text where the server forgets it as often as it is told."""
        try:
            return self._scripts[script](keys=keys, args=arguments)
        except NoScriptError:
            return self.commands.eval(script, len(keys), *keys, *arguments)

    def begin_generation(self, view: str, turn: Turn) -> bytes:
        """Make room for rows that become visible together with a state."""
        generation = str(turn.number).encode()
        self.run(scripts.BEGIN_GENERATION, view, turn, generation)
        return generation

    def scan(self, view: str, generation: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and rows, each key once: the server may return one twice while it grows."""
        seen, cursor = set[bytes](), -1
        while cursor and generation is not None:
            with self.naming():
                cursor, found = self.commands.hscan(
                    self.rows_key(view, generation), max(cursor, 0), count=_SCAN_ROWS
                )
            for key, packed in found.items():
                if key not in seen:
                    seen.add(key)
                    yield key, packed

    def refuse_eviction(self) -> None:
        """Refuse a server that throws rows away when its memory is full.

        Raises:
            OnlineStoreEvictsError: If it does.

        """
        with self.naming():
            memory: dict[str, Any] = self.commands.info("memory")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if int(memory.get("maxmemory", 0)) and policy != "noeviction":
            raise OnlineStoreEvictsError(self.address, policy=policy)

    def check_format(self) -> None:
        """Refuse a store in another format, and a node of a cluster; an empty store gets this format.

        Raises:
            OnlineStoreError: If it has another.
            OnlineStoreClusterError: If it is a node of a cluster: views would be on several.

        """
        key = f"{self._prefix}:format"
        with self.naming():
            if self.commands.info("cluster").get("cluster_enabled"):
                raise OnlineStoreClusterError(self.address)
            told = self.commands.get(key)
            if (
                told is None
            ):  # no write without need: a server that is full, or a replica, refuses it
                self.commands.set(key, FORMAT_VERSION, nx=True)
                told = self.commands.get(key)
        found = int(told)
        if found != FORMAT_VERSION:
            raise OnlineStoreError(self.address, found=found, allowed=FORMAT_VERSION)

    @contextmanager
    def naming(self) -> Generator[None]:
        """Name what the server and the way to it raise.

        Raises:
            DatabaseUnavailableError: If it does not answer or refuses.
            OnlineStoreFullError: If it has no memory left.

        """
        try:
            yield
        except RedisError as error:
            full = isinstance(error, OutOfMemoryError)
            if full or "OOM" in str(error):  # a script's own error says so in its text
                raise OnlineStoreFullError(self.address, str(error)) from error
            raise DatabaseUnavailableError(_DATABASE, f"{self.address}: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self.commands.close()
