"""Writes the rows of a view to Redis: in batches, each in one step of the server."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from headrace.crash_points import crash_point
from headrace.serving import redis_scripts as scripts
from headrace.serving.encoded import encoded
from headrace.serving.redis_client import RedisClient, Turn
from headrace.serving.redis_rows import DIGITS, STATE, TIMES, packed
from headrace.serving.redis_stream import ScriptStream
from headrace.serving.store import EncodedRow, Rows, ViewState, epoch_us
from headrace.serving.view_state import shape_text


@dataclass
class _Batch:
    """Rows of one step by key."""

    rows: dict[str, EncodedRow] = field(default_factory=dict[str, EncodedRow])

    def put_newer(self, row: EncodedRow) -> None:
        """Add a row, unless there is one of its key with later times."""
        before = self.rows.get(row[0])
        if before is None or row[1:3] >= before[1:3]:
            self.rows[row[0]] = row

    def arguments(self) -> list[str]:
        """Return pieces: the newest times of some rows as digits, then their keys and rows."""
        texts = iter([(key, packed(row)) for key, row in self.rows.items()])
        said: list[str] = []
        while piece := list(islice(texts, scripts.PIECE_ROWS)):
            said.append(max(text[:DIGITS] for _, text in piece))
            said.append(max(text[DIGITS:TIMES] for _, text in piece))
            said += (part for pair in piece for part in pair)
        return said


class RowWriter:
    """Writes for those who have the turn; `batch_rows` become visible together."""

    def __init__(self, server: RedisClient, *, batch_rows: int) -> None:
        self._server, self.batch_rows = server, batch_rows

    def write(
        self,
        state: ViewState,
        rows: Rows,
        generation: bytes,
        turn: Turn,
        *,
        gone: Iterable[str] = (),
    ) -> int:
        """Write all rows but those of `gone` in batches; these, and the state, with the last one."""
        self._server.refuse_eviction()
        with self._server.naming():
            self._server.commands.sadd(self._server.views_key, state.view)
        gone, batch, last = frozenset(gone), _Batch(), _Batch()
        changed = 0
        with ScriptStream(self._server, scripts.WRITE, state.view, turn) as stream:
            for row in rows:
                one = encoded(state, row)
                if one[0] in gone:
                    last.put_newer(one)
                    continue
                if len(batch.rows) == self.batch_rows or one[0] in batch.rows:
                    changed += stream.send(_arguments(generation, batch))
                    batch = _Batch()
                    crash_point("serving.between_batches")
                batch.rows[one[0]] = one
            changed += stream.ended()
        crash_point("serving.before_commit")
        said = (shape_text(state), str(state.snapshot_id), str(epoch_us(state.published_at)))
        fields: dict[str, str] = dict(zip(STATE, said, strict=True))
        batch.rows |= last.rows
        arguments = _arguments(generation, batch, gone=sorted(gone), fields=fields)
        changed += int(self._server.run(scripts.WRITE, state.view, turn, *arguments))
        self._count_newest(state.view, turn, generation)
        return changed

    def _count_newest(self, view: str, turn: Turn, generation: bytes) -> None:
        """Count the newest times again where a row that had one of them was replaced or deleted."""
        with self._server.naming():
            inexact = self._server.commands.hget(
                self._server.newest_key(view, generation), "inexact"
            )
        if inexact:
            event, known = newest_of(self._server, view, generation)
            self._server.run(scripts.SET_NEWEST, view, turn, generation, event or b"", known or b"")


def _arguments(
    generation: bytes,
    batch: _Batch,
    *,
    gone: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
) -> list[object]:
    said = [part for pair in (fields or {}).items() for part in pair]
    counted = (len(gone), *gone, len(said) // 2, *said)
    return [generation, TIMES, *counted, *batch.arguments()]


def newest_of(
    server: RedisClient, view: str, generation: bytes | None
) -> tuple[bytes | None, bytes | None]:
    """Look for the newest times among all rows."""
    event = known = None
    for _, text in server.scan(view, generation):
        first, second = text[:DIGITS], text[DIGITS:TIMES]
        event = first if event is None else max(event, first)
        known = second if known is None else max(known, second)
    return event, known
