"""What the CSV and JSON decoders share: most lines are decoded at once, the rest one by one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.decoding.decoded import INVALID_UTF8, TOO_LONG, Decoded, Violation, in_order
from headrace.ingest.sources.base import RECORD_BYTES_MAX
from headrace.ingest.sources.line_block import LineBlock

# A batch that cannot be parsed is divided repeatedly, down to so few lines: one bad record in a
# thousand then costs 16 slow ones, not a thousand.
_PARTS_PER_RETRY = 8
_PIECE_LINES = 2_048  # where the parser says which line it fails at, only so many are parsed again
_FAILURES_MAX = 64  # of one piece, before the rest is read singly
_LINES_READ_SINGLY = 16
_LEFT_MAX, _LEFT_SHARE_MAX = 64, 0.03  # read singly, where the others needed no parser
_RUNS_MAX = 64  # of rows that are put in order by copying them once; beyond it each is looked up
_ASCII_END = 0x80
_AT_FAULT_MAX = 0.25  # of the lines; decoding one singly costs as much as eight at once
Look = Callable[[LineBlock, np.ndarray], Sequence[int]]  # gives places in the array
# of a large batch so many are tried first: some errors are found only when all is parsed
_PROBE_LINES, _PROBE_TIMES = 1_024, 4


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Lines decoded at once. Line numbers count from the first of these lines.

    Each line is a row (`kept` says which), has a violation, or is to be decoded singly.
    """

    table: pa.Table
    kept: np.ndarray
    violations: Mapping[int, Violation] = field(default_factory=dict[int, Violation])
    singly: Sequence[int] = ()


class LineDecoder(ABC):
    """Decodes lines by one path for whole batches and one for single records; both must agree."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.strict = stream.unknown_fields != "ignore"

    def decode(self, lines: Sequence[bytes]) -> Decoded:
        """Decode lines; never raises for what one holds."""
        lines, refused = self.texts(lines)
        parts: list[tuple[np.ndarray, pa.Table]] = []
        left = np.ones(len(lines), dtype=bool)
        for found, table in self.alike(lines):
            parts.append((found, table))
            left[found] = False
        if not parts:
            return _assemble(*self._others(LineBlock.of(lines), refused))
        at = np.flatnonzero(left)
        few = len(at) <= max(_LEFT_MAX, len(lines) * _LEFT_SHARE_MAX)
        rest = LineBlock.of([lines[place] for place in at.tolist()])
        others, violations = self._others(rest, {}, singly=few)
        parts += [(at[found], table) for found, table in others]
        return _assemble(parts, {int(at[place]): each for place, each in violations.items()})

    def _others(
        self, block: LineBlock, refused: dict[int, Violation], *, singly: bool = False
    ) -> tuple[list[tuple[np.ndarray, pa.Table]], dict[int, Violation]]:
        """Decode lines that are not alike."""
        violations = unreadable(block) | refused
        alone = np.full(len(block), fill_value=singly)
        if not singly:
            alone[self.odd(block)] = True
        alone[list(violations)] = False
        plain = ~alone
        plain[list(violations)] = False
        parts: list[tuple[np.ndarray, pa.Table]] = []
        for piece in self._at_once(np.flatnonzero(plain), block, parts, violations):
            alone[piece] = True
        if alone.any():
            parts.append(self._slow(np.flatnonzero(alone).tolist(), block, violations))
        return parts, violations

    def _at_once(
        self,
        at: np.ndarray,
        block: LineBlock,
        parts: list[tuple[np.ndarray, pa.Table]],
        violations: dict[int, Violation],
    ) -> Iterator[Sequence[int] | np.ndarray]:
        """Decode lines at once; yield those that must be decoded one by one.

        Where that fails, first without the lines that a look at each finds at fault, then in pieces.
        """
        if not len(at):
            return
        done = self._whole_of(at, block)
        if isinstance(done, Whole):
            yield _taken(done, at, parts, violations)
            return
        for look in self.looks():
            found = np.array(look(block, at), dtype=np.int64)
            if not len(found) or len(found) > len(at) * _AT_FAULT_MAX:
                continue
            yield at[found]
            at = np.delete(at, found)
            done = self.whole(block.joined(at), len(at))
            if isinstance(done, Whole):
                yield _taken(done, at, parts, violations)
                return
        yield from self._in_pieces(at, block, parts, violations)

    def _whole_of(self, at: np.ndarray, block: LineBlock) -> Whole | int | None:
        """Decode lines at once, if some of them can be; all together, as joined columns are copied."""
        if len(at) > _PROBE_TIMES * _PROBE_LINES:
            tried = at[:_PROBE_LINES]
            done = self.whole(block.joined(tried), len(tried))
            if not isinstance(done, Whole):
                return done
        return self.whole(block.joined(at), len(at))

    def _in_pieces(
        self,
        at: np.ndarray,
        block: LineBlock,
        parts: list[tuple[np.ndarray, pa.Table]],
        violations: dict[int, Violation],
    ) -> Iterator[Sequence[int] | np.ndarray]:
        """Decode lines in pieces that shrink around those at fault; yield what `_at_once` does."""
        for _ in range(_FAILURES_MAX):
            if not len(at):
                return
            done = self.whole(block.joined(at), len(at))
            if isinstance(done, Whole):
                yield _taken(done, at, parts, violations)
                return
            if len(at) <= _LINES_READ_SINGLY:
                break
            if len(at) > _PIECE_LINES or done is None or not 0 <= done < len(at):
                size = max(-(-len(at) // _PARTS_PER_RETRY), _LINES_READ_SINGLY)
                size = min(size, _PIECE_LINES)
                for start in range(0, len(at), size):
                    yield from self._in_pieces(at[start : start + size], block, parts, violations)
                return
            yield from self._in_pieces(at[:done], block, parts, violations)
            yield at[done : done + 1]
            at = at[done + 1 :]
        yield at

    def looks(self) -> Sequence[Look]:
        """Return the ways to guess which lines prevent decoding the others at once, cheap ones first."""
        return ()

    def texts(self, lines: Sequence[bytes]) -> tuple[Sequence[bytes], dict[int, Violation]]:
        """Return the lines as UTF-8, and which of them cannot be."""
        return lines, {}

    def alike(self, lines: Sequence[bytes]) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Decode lines of a form that needs no parser, if there are any; yield their places and rows."""
        del lines
        yield from ()

    @abstractmethod
    def odd(self, lines: LineBlock) -> np.ndarray:
        """Return the lines that cannot be decoded at once with others."""

    @abstractmethod
    def whole(self, text: bytes, count: int) -> Whole | int | None:
        """Decode so many lines at once, or say which is the first that prevents it; None if not known."""

    @abstractmethod
    def one(self, line: bytes) -> dict[str, Any] | Violation:
        """Decode one line."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns that both paths return."""

    def _slow(
        self, at: list[int], lines: LineBlock, violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table]:
        kept: list[int] = []
        rows: list[dict[str, Any]] = []
        for i in at:
            record = self.one(lines[i])
            if isinstance(record, Violation):
                violations[i] = record
            else:
                kept.append(i)
                rows.append(record)
        schema = self.schema()
        extra = sorted({name for row in rows for name in row} - set(schema.names))
        columns = [pa.array([row.get(f.name) for row in rows], f.type) for f in schema]
        columns += [
            pa.array([True if name in row else None for row in rows], pa.bool_()) for name in extra
        ]
        table = pa.Table.from_arrays(columns, names=[*schema.names, *extra])
        return np.array(kept, dtype=np.int64), table


def _taken(
    done: Whole,
    at: np.ndarray,
    parts: list[tuple[np.ndarray, pa.Table]],
    violations: dict[int, Violation],
) -> np.ndarray:
    """Keep what was decoded at once, and return what is left of it."""
    parts.append((at[done.kept], done.table))
    violations |= {int(at[row]): violation for row, violation in done.violations.items()}
    return at[np.array(done.singly, dtype=np.int64)]


def unreadable(lines: LineBlock) -> dict[int, Violation]:
    """Find lines that are too long or not UTF-8; a clean block is scanned once."""
    too_long = f"longer than {RECORD_BYTES_MAX} bytes; `raw` is its beginning"
    refused = {
        at: Violation(TOO_LONG, too_long)
        for at in np.flatnonzero(lines.lengths > RECORD_BYTES_MAX).tolist()
    }
    if lines.is_ascii:
        return refused
    foreign = lines.codes >= _ASCII_END
    # where there are few other letters, it is cheaper to decode only the lines that have them
    if np.count_nonzero(foreign) <= len(lines):
        suspects = lines.holding(np.flatnonzero(foreign))
    elif _is_utf8(lines.data):
        return refused
    else:  # one flag for each line, and no array of places: most letters of a text may be others
        suspects = np.flatnonzero(np.logical_or.reduceat(foreign, lines.starts))
    for at in suspects.tolist():
        try:
            lines[at].decode()
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 at byte {error.start} of the record"
            refused.setdefault(at, Violation(INVALID_UTF8, reason))
    return refused


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _assemble(
    parts: list[tuple[np.ndarray, pa.Table]], violations: dict[int, Violation]
) -> Decoded:
    if not parts:
        return Decoded(index=np.empty(0, np.int64), columns={}, violations=violations)
    index = np.concatenate([at for at, _ in parts])
    table = pa.concat_tables([table for _, table in parts], promote_options="default")
    order = np.argsort(index, kind="stable")
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    if 0 < len(breaks) <= _RUNS_MAX:
        bounds = zip((0, *breaks.tolist()), (*breaks.tolist(), len(order)), strict=True)
        runs = [table.slice(int(order[first]), end - first) for first, end in bounds]
        index, table = index[order], pa.concat_tables(runs)
    # by position: a look-up by name scans all names, and there may be many
    columns = {
        name: _flat(column) for name, column in zip(table.column_names, table.columns, strict=True)
    }
    index, columns = in_order(index, columns)
    return Decoded(index=index, columns=columns, violations=violations)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:  # to combine one would copy it
        return column.chunk(0)
    flat = column.combine_chunks()
    return flat if isinstance(flat, pa.Array) else flat.chunk(0)
