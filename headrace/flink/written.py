"""The offsets of a stream that are in its table and its dead letters, beyond the recorded positions."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import EVENT_TIME, Stream
from headrace.engines.open import open_engine
from headrace.identifiers import quote, quote_text
from headrace.ingest import dead_letters
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import SourcePartition
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class Written:
    """Offsets beyond the recorded position of one partition: of rows with their event times, of letters."""

    rows: np.ndarray
    times_us: np.ndarray
    letters: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """All of them, in order, each once."""
        return np.unique(np.concatenate((self.rows, self.letters)))


def written_beyond(
    lake: OpenLake, stream: Stream, head: TableVersion, positions: Positions
) -> dict[SourcePartition, Written]:
    """Read the offsets beyond the recorded positions; engines skip files that have none."""
    beyond = " or ".join(
        f"(_source = {quote_text(each.source)} and _source_partition = {each.partition} "
        f"and _source_offset >= {at.offset})"
        for each, at in positions.open.items()
    )
    known = " and ".join(
        f"not (_source = {quote_text(each.source)} and _source_partition = {each.partition})"
        for each in positions.open
    )
    where = f"({beyond}) or ({known})" if beyond else "true"
    columns = "_source, _source_partition, _source_offset"
    found: dict[SourcePartition, tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]] = {}
    with open_engine(lake.settings) as engine:
        engine.bind(str(stream.table), head)
        name = _quoted(str(stream.table))
        rows = engine.query(f"select {columns}, {EVENT_TIME} from {name} where {where}").read_all()
        _collect(rows, found, times=True)
        dead = lake.head_of(dead_letters.TABLE)
        if dead is not None:
            engine.bind(str(dead_letters.TABLE), dead)
            letters = engine.query(
                f"select {columns} from {_quoted(str(dead_letters.TABLE))} "
                f"where stream = {quote_text(stream.name)} and ({where})"
            ).read_all()
            _collect(letters, found, times=False)
    nothing = np.empty(0, dtype=np.int64)
    return {
        each: Written(
            rows=np.concatenate([nothing, *rows]),
            times_us=np.concatenate([nothing, *times]),
            letters=np.concatenate([nothing, *letters]),
        )
        for each, (rows, times, letters) in found.items()
    }


def _quoted(table: str) -> str:
    return ".".join(map(quote, table.split(".")))


def _collect(
    rows: pa.Table,
    found: dict[SourcePartition, tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]],
    *,
    times: bool,
) -> None:
    for batch in rows.to_batches():
        source = batch.column("_source").to_pylist()
        numbers = batch.column("_source_partition").to_numpy(zero_copy_only=False)
        offsets = batch.column("_source_offset").to_numpy(zero_copy_only=False).astype(np.int64)
        at_us = batch.column(EVENT_TIME).cast(pa.int64()).to_numpy() if times else offsets
        for name in set(source):
            of_source = np.array([each == name for each in source])
            for number in np.unique(numbers[of_source]):
                mask = of_source & (numbers == number)
                kept = found.setdefault(SourcePartition(name, int(number)), ([], [], []))
                kept[0 if times else 2].append(offsets[mask])
                if times:
                    kept[1].append(at_us[mask])
