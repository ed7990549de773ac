"""The online store on a Redis server: one hash per view, read while it is written."""

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Self, cast

from headrace.crash_points import crash_point
from headrace.serving import redis_scripts as scripts
from headrace.serving.redis_client import RedisClient
from headrace.serving.redis_rows import (
    found_of,
    moment_of,
    times_us,
)
from headrace.serving.redis_write import RowWriter, newest_of
from headrace.serving.sizes import bytes_on_redis
from headrace.serving.store import (
    EncodedRow,
    EntityKey,
    Found,
    Freshness,
    Guard,
    MoveGuard,
    OnlineRow,
    Rows,
    StoreSize,
    ViewState,
    epoch_us,
    from_epoch_us,
)
from headrace.serving.stored_names import view_named
from headrace.serving.values import decode, encode_key, encode_keys

BATCH_ROWS = 1_000  # of one script: the server answers nobody else for about 2 ms
ANSWER_S = 5.0
RETRIES = 3
_GONE_MAX = 100_000  # a request has at most 1,048,576 parts, and blocks the server while it runs


class RedisOnlineStore:
    """The online store of the cluster profile, on one Redis 6.2 or later, or what speaks as it does.

    One writer of a view at a time, any number of readers. Safe to share between threads; each
    process opens its own. What is acknowledged is as durable as the server is configured to be
    (`appendonly`); a server restored from an older dump has an older state of the view with the rows
    of that time, and the next publication completes it.

    Args:
        url: As redis-py takes it: `redis://host:6379/0`, with a password if it needs one.
        prefix: Of every key; lakes that share a database have different ones.
        batch_rows: How many rows of a `put` become visible together.
        answer_s: How long to wait for an answer, in seconds.
        retries: How often to ask again where the connection is lost or the answer late.

    Raises:
        OnlineStoreError: If the store was written in another format.
        OnlineStoreClusterError: If the server is a node of a cluster.
        DatabaseUnavailableError: Here and later, if the server does not answer or refuses.

    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "headrace",
        batch_rows: int = BATCH_ROWS,
        answer_s: float = ANSWER_S,
        retries: int = RETRIES,
    ) -> None:
        self._server = RedisClient(url, prefix=prefix, answer_s=answer_s, retries=retries)
        self._writer = RowWriter(self._server, batch_rows=batch_rows)
        self._generations: dict[str, bytes] = {}
        try:
            self._server.check_format()
        except BaseException:
            self.close()
            raise

    without_max = _GONE_MAX

    @property
    def atomic_rows_max(self) -> int | None:
        """How many rows of one `put` become visible together."""
        return self._writer.batch_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(
        self,
        state: ViewState,
        rows: Rows,
        *,
        without: Iterable[EntityKey] = (),
        guard: Guard | None = None,
    ) -> int:
        """Write rows and move the view to `state`; see `OnlineStore.put`.

        Raises:
            ValueError: If the view is there with another shape, or more keys are to be deleted than
                one step of the server should take: replace it.
            DatabaseUnavailableError: If the server cannot be used.
            OnlineStoreEvictsError: If the server may throw rows away when its memory is full.
            PublicationOvertakenError: If this writer was silent for so long that another one began.

        """
        gone = {encode_key(key) for key in without}
        if len(gone) > self.without_max:
            msg = f"{len(gone)} keys of `{state.view}` are to be deleted at once; replace it"
            raise ValueError(msg)
        with self._server.turn_of(state.view) as turn:
            before = self.state(state.view)
            if guard is not None:
                guard(before)
            if before is not None and not state.same_shape(before):
                msg = f"`{state.view}` is published with another shape; replace it"
                raise ValueError(msg)
            if before is None:
                generation = self._server.begin_generation(state.view, turn)
            else:
                generation = self._generation(state.view) or b""
            return self._wrote(
                state.view, generation, self._writer.write(state, rows, generation, turn, gone=gone)
            )

    def replace(self, state: ViewState, rows: Rows, *, guard: Guard | None = None) -> int:
        """Make the view hold exactly `rows`; see `OnlineStore.replace`. Raises as `put` does."""
        with self._server.turn_of(state.view) as turn:
            if guard is not None:
                guard(self.state(state.view))
            generation = self._server.begin_generation(state.view, turn)
            return self._wrote(
                state.view, generation, self._writer.write(state, rows, generation, turn)
            )

    def drop(self, view: str, *, guard: Guard | None = None) -> int:
        """Delete a view; see `OnlineStore.drop`. Raises as `put` does."""
        with self._server.turn_of(view) as turn:
            if guard is not None:
                guard(self.state(view))
            gone = int(self._server.run(scripts.DROP, view, turn))
            self._server.commands.srem(self._server.views_key, view)
            return gone

    def rename(self, moves: Sequence[tuple[str, str]], *, guard: MoveGuard | None = None) -> None:
        """Give views other names; see `OnlineStore.rename`. Raises as `put` does."""
        names = sorted({name for move in moves for name in move})  # an order that all writers keep
        with contextlib.ExitStack() as turns:
            held = [turns.enter_context(self._server.turn_of(name)) for name in names]
            states = {name: self.state(name) for name in names}
            if guard is not None:
                guard(states)
            for old, _ in moves:
                if states[old] is None:
                    msg = f"`{old}` was never published"
                    raise ValueError(msg)
            crash_point("serving.before_switch")
            self._server.rename(names, held, moves)

    def bytes_of(self, state: ViewState, sample: Sequence[EncodedRow], *, rows: int) -> int:
        """Estimate how much more memory the server uses; see `OnlineStore.bytes_of`."""
        _ = state
        return bytes_on_redis(sample, rows=rows)

    def happened(
        self, view: str, spans: Sequence[tuple[dt.datetime, dt.datetime]]
    ) -> Iterator[OnlineRow]:
        """Yield the rows that happened in a span; see `OnlineStore.happened`. Looks at every row."""
        wanted = [(epoch_us(first), epoch_us(end)) for first, end in spans]
        for key, packed in self._server.scan(view, self._generation(view)):
            event_us, known_us = times_us(packed)
            if any(first <= event_us < end for first, end in wanted):
                yield OnlineRow(
                    key=cast("EntityKey", decode(key.decode())),
                    event_time=from_epoch_us(event_us),
                    known_at=from_epoch_us(known_us),
                )

    def get(self, view: str, keys: Sequence[EntityKey]) -> list[OnlineRow | None]:
        """Look up many keys of one view at one moment, in the order of `keys`."""
        return list(self.look_up([(view, keys)])[0].rows)

    def look_up(self, wanted: Sequence[tuple[str, Sequence[EntityKey]]]) -> list[Found]:
        """Look up keys of several views at one moment; see `OnlineStore.look_up`."""
        texts = [encode_keys(keys) for _, keys in wanted]
        with self._server.naming():
            while True:
                asked = [self._generations.get(view, b"") for view, _ in wanted]
                answers = self._server.read(
                    [
                        (self._server.key(view), self._server.rows_key(view, generation), keys)
                        for (view, _), keys, generation in zip(wanted, texts, asked, strict=True)
                    ]
                )
                now = [fields[-1] or b"" for fields in answers[::3]]
                if now == asked:
                    parts = zip(wanted, answers[::3], answers[1::3], answers[2::3], strict=True)
                    return [
                        found_of(*each, fields, rows, held=held)
                        for each, fields, rows, held in parts
                    ]
                self._generations |= dict(zip((view for view, _ in wanted), now, strict=True))

    def state(self, view: str) -> ViewState | None:
        """The view's shape and snapshot, or None if it was never published, or lost rows since."""
        return self.look_up([(view, ())])[0].state

    def freshness(self, view: str) -> Freshness | None:
        """How up to date the view is, or None if it was never published, or lost rows since."""
        state, generation = self.state(view), self._generation(view)
        if state is None or generation is None:
            return None
        rows, event, known, inexact = self._server.newest(view, generation)
        if inexact:
            event, known = newest_of(self._server, view, generation)
        return Freshness(
            view=view,
            rows=rows,
            newest_event_time=moment_of(event),
            newest_known_at=moment_of(known),
            snapshot_id=state.snapshot_id,
            published_at=state.published_at,
        )

    def views(self) -> tuple[str, ...]:
        """The views that are served, by name."""
        with self._server.naming():
            named = sorted(
                view.decode() for view in self._server.commands.smembers(self._server.views_key)
            )
            step = self._server.commands.pipeline(transaction=False)
            for view in named:
                step.exists(self._server.key(view))
            there = step.execute() if named else []
        pairs = zip(named, there, strict=True)
        return tuple(view for view, found in pairs if found and view == view_named(view))

    def size(self) -> StoreSize:
        """How much memory the server uses, whatever is on it, and its limit."""
        with self._server.naming():
            said = self._server.commands.info("memory")
        return StoreSize(bytes=said["used_memory"], bytes_max=said.get("maxmemory") or None)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _wrote(self, view: str, generation: bytes, changed: int) -> int:
        self._generations[view] = generation
        return changed

    def _generation(self, view: str) -> bytes | None:
        with self._server.naming():
            found: bytes | None = self._server.commands.hget(self._server.key(view), "generation")
        if found is None:
            self._generations.pop(view, None)
        else:
            self._generations[view] = found
        return found
