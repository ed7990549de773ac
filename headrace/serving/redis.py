"""The online store on a Redis server: one hash per view, read while it is written."""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self, cast

from headrace.crash_points import crash_point
from headrace.serving import redis_scripts as scripts
from headrace.serving.redis_client import RedisClient, Turn
from headrace.serving.redis_rows import (
    DIGITS,
    STATE,
    found_of,
    moment_of,
    packed_row,
    times_us,
)
from headrace.serving.store import (
    EntityKey,
    Found,
    Freshness,
    Guard,
    OnlineRow,
    ViewState,
    epoch_us,
    from_epoch_us,
)
from headrace.serving.values import decode, encode_key
from headrace.serving.view_state import shape_text

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
        self._batch_rows = batch_rows
        self._server = RedisClient(url, prefix=prefix, answer_s=answer_s, retries=retries)
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
        return self._batch_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(
        self,
        state: ViewState,
        rows: Iterable[OnlineRow],
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
            return self._write(state, rows, generation, turn, gone=gone)

    def replace(
        self, state: ViewState, rows: Iterable[OnlineRow], *, guard: Guard | None = None
    ) -> int:
        """Make the view hold exactly `rows`; see `OnlineStore.replace`. Raises as `put` does."""
        with self._server.turn_of(state.view) as turn:
            if guard is not None:
                guard(self.state(state.view))
            generation = self._server.begin_generation(state.view, turn)
            return self._write(state, rows, generation, turn)

    def drop(self, view: str, *, guard: Guard | None = None) -> int:
        """Delete a view; see `OnlineStore.drop`. Raises as `put` does."""
        with self._server.turn_of(view) as turn:
            if guard is not None:
                guard(self.state(view))
            gone = int(self._server.run(scripts.DROP, view, turn))
            self._server.commands.srem(self._server.views_key, view)
            return gone

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
        texts = [[encode_key(key) for key in keys] for _, keys in wanted]
        with self._server.naming():
            while True:
                # one step: rows of a generation that was replaced in between would be gone
                step = self._server.commands.pipeline(transaction=True)
                asked = [self._generations.get(view, b"") for view, _ in wanted]
                for (view, _), keys, generation in zip(wanted, texts, asked, strict=True):
                    step.hmget(self._server.key(view), *STATE, "rows", "generation")
                    step.hmget(self._server.rows_key(view, generation), keys or [""])
                    step.hlen(self._server.rows_key(view, generation))
                answers = step.execute()
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
        with self._server.naming():
            step = self._server.commands.pipeline(transaction=True)
            step.hlen(self._server.rows_key(view, generation))
            step.hmget(self._server.newest_key(view, generation), "event", "known", "inexact")
            rows, (event, known, inexact) = step.execute()
        if inexact:
            event, known = self._newest_of(view)
        return Freshness(
            view=view,
            rows=rows,
            newest_event_time=moment_of(event),
            newest_known_at=moment_of(known),
            snapshot_id=state.snapshot_id,
            published_at=state.published_at,
        )

    def views(self) -> tuple[str, ...]:
        """The published views, by name."""
        with self._server.naming():
            named = sorted(
                view.decode() for view in self._server.commands.smembers(self._server.views_key)
            )
            step = self._server.commands.pipeline(transaction=False)
            for view in named:
                step.exists(self._server.key(view))
            there = step.execute() if named else []
        return tuple(view for view, found in zip(named, there, strict=True) if found)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _write(
        self,
        state: ViewState,
        rows: Iterable[OnlineRow],
        generation: bytes,
        turn: Turn,
        *,
        gone: Iterable[str] = (),
    ) -> int:
        """Write all rows but those of `gone` in batches; these, and the state, with the last one."""
        self._server.refuse_eviction()
        with self._server.naming():
            self._server.commands.sadd(self._server.views_key, state.view)
        gone, held = frozenset(gone), list[str]()
        changed, batch = 0, list[str]()
        for row in rows:
            key, packed = packed_row(state, row)
            into = held if key in gone else batch
            into += (key, packed)
            if len(batch) == 2 * self._batch_rows:
                changed += self._write_batch(state.view, turn, generation, batch)
                batch = []
                crash_point("serving.between_batches")
        crash_point("serving.before_commit")
        said = (shape_text(state), str(state.snapshot_id), str(epoch_us(state.published_at)))
        fields: dict[str, str] = dict(zip(STATE, said, strict=True))
        last, keys = [*batch, *held], sorted(gone)
        changed += self._write_batch(state.view, turn, generation, last, gone=keys, fields=fields)
        self._generations[state.view] = generation
        self._count_newest(state.view, turn, generation)
        return changed

    def _write_batch(
        self,
        view: str,
        turn: Turn,
        generation: bytes,
        batch: Sequence[str],
        *,
        gone: Sequence[str] = (),
        fields: Mapping[str, str] | None = None,
    ) -> int:
        said = list(itertools.chain.from_iterable((fields or {}).items()))
        counted = (len(gone), *gone, len(said) // 2, *said)
        return int(
            self._server.run(scripts.WRITE, view, turn, generation, 2 * DIGITS, *counted, *batch)
        )

    def _count_newest(self, view: str, turn: Turn, generation: bytes) -> None:
        """Count the newest times again where a row that had one of them was replaced or deleted."""
        with self._server.naming():
            inexact = self._server.commands.hget(
                self._server.newest_key(view, generation), "inexact"
            )
        if inexact:
            event, known = self._newest_of(view)
            self._server.run(scripts.SET_NEWEST, view, turn, generation, event or b"", known or b"")

    def _newest_of(self, view: str) -> tuple[bytes | None, bytes | None]:
        event = known = None
        for _, packed in self._server.scan(view, self._generation(view)):
            first, second = packed[:DIGITS], packed[DIGITS : 2 * DIGITS]
            event = first if event is None else max(event, first)
            known = second if known is None else max(known, second)
        return event, known

    def _generation(self, view: str) -> bytes | None:
        with self._server.naming():
            found: bytes | None = self._server.commands.hget(self._server.key(view), "generation")
        if found is None:
            self._generations.pop(view, None)
        else:
            self._generations[view] = found
        return found
