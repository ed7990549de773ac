"""What the CSV and JSON decoders share: most lines are decoded at once, the rest one by one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.decoding.decoded import INVALID_UTF8, TOO_LONG, Decoded, Violation
from headrace.ingest.sources.base import RECORD_BYTES_MAX

# A batch that cannot be parsed is divided repeatedly, down to so few lines: one bad record in a
# thousand then costs 16 slow ones, not a thousand.
_PARTS_PER_RETRY = 8
_PIECE_LINES = 2_048  # where the parser says which line it fails at, only so many are parsed again
_FAILURES_MAX = 64  # of one piece, before the rest is read singly
_LINES_READ_SINGLY = 16


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
        violations: dict[int, Violation] = {}
        lines, refused = self.texts(lines)
        refused = _unreadable(lines) | refused
        odd = set(self.odd(lines)) - refused.keys()
        plain = [at for at in range(len(lines)) if at not in odd and at not in refused]
        violations |= refused
        parts: list[tuple[np.ndarray, pa.Table]] = []
        for piece in self._fast(plain, lines, parts, violations):
            odd.update(piece)
        if odd:
            parts.append(self._slow(sorted(odd), lines, violations))
        return _assemble(parts, violations)

    def _fast(
        self,
        at: list[int],
        lines: Sequence[bytes],
        parts: list[tuple[np.ndarray, pa.Table]],
        violations: dict[int, Violation],
    ) -> Iterable[list[int]]:
        """Decode lines at once; yield those that must be decoded one by one."""
        for _ in range(_FAILURES_MAX):
            if not at:
                return
            done = self.whole([lines[i] for i in at])
            if isinstance(done, Whole):
                parts.append((np.array(at, dtype=np.int64)[done.kept], done.table))
                violations |= {at[row]: violation for row, violation in done.violations.items()}
                yield [at[row] for row in done.singly]
                return
            if len(at) <= _LINES_READ_SINGLY:
                break
            if len(at) > _PIECE_LINES or done is None or not 0 <= done < len(at):
                size = max(-(-len(at) // _PARTS_PER_RETRY), _LINES_READ_SINGLY)
                for start in range(0, len(at), min(size, _PIECE_LINES)):
                    piece = at[start : start + min(size, _PIECE_LINES)]
                    yield from self._fast(piece, lines, parts, violations)
                return
            yield from self._fast(at[:done], lines, parts, violations)
            yield [at[done]]
            at = at[done + 1 :]
        yield at

    def texts(self, lines: Sequence[bytes]) -> tuple[Sequence[bytes], dict[int, Violation]]:
        """Return the lines as UTF-8, and which of them cannot be."""
        return lines, {}

    @abstractmethod
    def odd(self, lines: Sequence[bytes]) -> Iterable[int]:
        """Return the lines that cannot be decoded at once with others."""

    @abstractmethod
    def whole(self, lines: list[bytes]) -> Whole | int | None:
        """Decode lines at once, or say which is the first that prevents it; None if that is not known."""

    @abstractmethod
    def one(self, line: bytes) -> dict[str, Any] | Violation:
        """Decode one line."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns that both paths return."""

    def _slow(
        self, at: list[int], lines: Sequence[bytes], violations: dict[int, Violation]
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


def _unreadable(lines: Sequence[bytes]) -> dict[int, Violation]:
    """Find lines that are too long or not UTF-8; a clean batch is scanned once."""
    refused: dict[int, Violation] = {}
    if max(map(len, lines), default=0) > RECORD_BYTES_MAX:
        too_long = f"longer than {RECORD_BYTES_MAX} bytes; `raw` is its beginning"
        refused = {
            at: Violation(TOO_LONG, too_long)
            for at, line in enumerate(lines)
            if len(line) > RECORD_BYTES_MAX
        }
    try:
        b"\n".join(lines).decode()
    except UnicodeDecodeError:
        for at, line in enumerate(lines):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                refused.setdefault(
                    at, Violation(INVALID_UTF8, f"not UTF-8 at byte {error.start} of the record")
                )
    return refused


def _assemble(
    parts: list[tuple[np.ndarray, pa.Table]], violations: dict[int, Violation]
) -> Decoded:
    if not parts:
        return Decoded(index=np.empty(0, np.int64), columns={}, violations=violations)
    index = np.concatenate([at for at, _ in parts])
    table = pa.concat_tables([table for _, table in parts], promote_options="default")
    if len(index) and (np.diff(index) < 0).any():
        order = np.argsort(index, kind="stable")
        index, table = index[order], table.take(pa.array(order))
    # by position: a look-up by name scans all names, and there may be many
    columns = {
        name: _flat(column) for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return Decoded(index=index, columns=columns, violations=violations)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    flat = column.combine_chunks()
    return flat if isinstance(flat, pa.Array) else flat.chunk(0)
