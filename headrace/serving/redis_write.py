"""Writes the rows of a view to Redis: in batches, each in one step of the server."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from headrace.crash_points import crash_point
from headrace.serving import redis_scripts as scripts
from headrace.serving.redis_client import RedisClient, Turn
from headrace.serving.redis_rows import DIGITS, STATE, packed_row
from headrace.serving.store import OnlineRow, ViewState, epoch_us
from headrace.serving.view_state import shape_text


class RowWriter:
    """Writes for those who have the turn; `batch_rows` become visible together."""

    def __init__(self, server: RedisClient, *, batch_rows: int) -> None:
        self._server, self.batch_rows = server, batch_rows

    def write(
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
            if len(batch) == 2 * self.batch_rows:
                changed += self._write_batch(state.view, turn, generation, batch)
                batch = []
                crash_point("serving.between_batches")
        crash_point("serving.before_commit")
        said = (shape_text(state), str(state.snapshot_id), str(epoch_us(state.published_at)))
        fields: dict[str, str] = dict(zip(STATE, said, strict=True))
        last, keys = [*batch, *held], sorted(gone)
        changed += self._write_batch(state.view, turn, generation, last, gone=keys, fields=fields)
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
            event, known = newest_of(self._server, view, generation)
            self._server.run(scripts.SET_NEWEST, view, turn, generation, event or b"", known or b"")


def newest_of(
    server: RedisClient, view: str, generation: bytes | None
) -> tuple[bytes | None, bytes | None]:
    """Look for the newest times among all rows."""
    event = known = None
    for _, packed in server.scan(view, generation):
        first, second = packed[:DIGITS], packed[DIGITS : 2 * DIGITS]
        event = first if event is None else max(event, first)
        known = second if known is None else max(known, second)
    return event, known
