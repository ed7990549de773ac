"""Eight processes change one table for a while: exactly what was acknowledged is there."""

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from pyiceberg.table.metadata import TableMetadata

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CatalogBusyError, CommitConflictError, FencedError
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.proofs import operations as ops
from tests.proofs.invariants import check_files, stock_rows
from tests.proofs.jobs import TABLE
from tests.proofs.operations import Rows, batch_of, finish, rows_at, rows_of
from tests.proofs.test_interleaving import elsewhere
from tests.tables.factories import events_table
from tests.waiting import WAIT_S

_LOG = logging.getLogger(__name__)
SECONDS_SHORT, SECONDS_LONG = 1, 60
_REFUSED = (CommitConflictError, CatalogBusyError, FencedError)  # nothing was changed, try again
_IDS = 1_000_000  # of each worker
_SNAPSHOTS_KEPT = 40
# worker by worker: the stream a worker takes rows from, two of one, or what else it does
_STREAMS = ("shared", "shared", "own", "other")
_WORKERS = 8


@dataclass(kw_only=True)
class Worker:
    """One process; what it did is in its log, one line for each acknowledged commit."""

    number: int
    table: LakeTable
    log: Path
    rows: dict[int, tuple[str, int]] = field(default_factory=dict)
    turns: int = 0

    def work(self, until: float) -> None:
        """Take turns until the time is over, one at least; a refused one is taken again."""
        with self.log.open("w") as log:
            while time.monotonic() < until or not self.turns:
                try:
                    rows = self.turn()
                except _REFUSED as error:
                    log.write(json.dumps({"refused": type(error).__name__}) + "\n")
                else:
                    self.turns += 1
                    self.rows = dict(rows)
                    log.write(json.dumps({"rows": sorted(self.rows.items())}) + "\n")

    def turn(self) -> Rows:
        if self.number < len(_STREAMS):
            return self._ingest()
        return (self._merge, self._delete, self._compact, self._maintain)[self.number - 4]()

    def _fresh(self) -> Rows:
        first = self.number * _IDS + self.turns * 3
        return {i: (f"event {i}", self.turns % ops.DAYS) for i in range(first, first + 3)}

    def _ingest(self) -> Rows:
        key, partition = _STREAMS[self.number], str(self.number)
        committed = operations.offsets(self.table.head(), key)
        assert committed.get(partition, 0) == len(self.rows), "an offset is not what was committed"
        fresh = self._fresh()
        files = write_batches(self.table, [batch_of(fresh)])
        after = {**committed, partition: len(self.rows) + len(fresh)}
        fence = Fence(key=key, expected=committed, offsets=after)
        operations.append(self.table, files, provenance=Provenance(), fence=fence)
        return {**self.rows, **fresh}

    def _merge(self) -> Rows:
        changed = {i: (f"merged in {self.turns}", row[1]) for i, row in [*self.rows.items()][-2:]}
        return self._do(ops.merging({**changed, **self._fresh()}))

    def _delete(self) -> Rows:
        if self.turns % 2:
            return self._do(ops.deleting(frozenset([*self.rows][-2:])))
        return self._do(ops.append(self._fresh()))

    def _compact(self) -> Rows:
        return self._do(ops.MANIFESTS if self.turns % 5 == 4 else ops.COMPACTION)

    def _maintain(self) -> Rows:
        if self.turns % 2:
            operations.expire(self.table, keep=_SNAPSHOTS_KEPT, before_ms=1 << 62)
            return self.rows
        _age_data(self.table)
        return self._do(ops.CLEAN_UP)

    def _do(self, operation: ops.Operation) -> Rows:
        finish(operation.steps(self.table))
        return operation.effect(self.rows)


def _age_data(table: LakeTable) -> None:
    """Make data files old enough for clean-up; what a commit still stages stays young."""
    long_ago = time.time() - 30 * 86_400
    # not `rglob`: it fails where a folder goes away, as those of an S3 server do with their last file
    for folder, _, names in os.walk(ops.folder_of(table) / "data"):
        for name in names:
            if name.endswith(".parquet"):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(Path(folder, name), (long_ago, long_ago))


def _work(
    settings: Settings,
    number: int,
    log: Path,
    start: Barrier,
    seconds: float,
    apart: bool,
    buckets: str,
) -> None:
    os.environ[ops.BUCKETS] = buckets  # what forks workers may have begun before it was set
    opened = elsewhere(settings, host=f"host-{number}") if apart else Lake.open(settings)
    with opened as lake:
        worker = Worker(number=number, table=lake.table(TABLE), log=log)
        start.wait(timeout=WAIT_S)
        worker.work(time.monotonic() + seconds)


@pytest.mark.parametrize("apart", [False, True], ids=["one host", "eight hosts"])
def test_eight_processes_lose_and_double_nothing(
    settings: Settings, tmp_path: Path, apart: bool
) -> None:
    run_workers(settings, tmp_path, seconds=SECONDS_SHORT, apart=apart)


@pytest.mark.proof
@pytest.mark.timeout(300)
@pytest.mark.parametrize("apart", [False, True], ids=["one host", "eight hosts"])
def test_eight_processes_lose_and_double_nothing_in_a_minute(
    settings: Settings, tmp_path: Path, apart: bool
) -> None:
    run_workers(settings, tmp_path, seconds=SECONDS_LONG, apart=apart)


def run_workers(settings: Settings, folder: Path, *, seconds: float, apart: bool) -> None:
    few = dataclasses.replace(settings, snapshots_kept=_SNAPSHOTS_KEPT)
    logs = [folder / f"worker-{number}.jsonl" for number in range(_WORKERS)]
    start = CONTEXT.Barrier(_WORKERS + 1)
    buckets = os.environ.get(ops.BUCKETS, "")
    with Lake.open(few) as lake:
        table = events_table(lake, str(TABLE))
        workers = [
            CONTEXT.Process(target=_work, args=(few, number, log, start, seconds, apart, buckets))
            for number, log in enumerate(logs)
        ]
        for worker in workers:
            worker.start()
        start.wait(timeout=WAIT_S)
        _watch(table, workers)
        assert [worker.exitcode for worker in workers] == [0] * _WORKERS
        _judge(table, logs, seconds=seconds)


def _watch(table: LakeTable, workers: Sequence[BaseProcess]) -> None:
    """Look again and again: offsets never go back, and always say what rows there are."""
    seen: Mapping[int, int] = {}
    while any(worker.is_alive() for worker in workers):
        version = table.head()
        offsets = _offsets(version)
        assert all(offsets[number] >= seen.get(number, 0) for number in offsets)
        assert offsets == _stream_counts(rows_at(version))
        seen = offsets
        workers[0].join(timeout=0.1)
    for worker in workers:
        worker.join(timeout=WAIT_S)


def _judge(table: LakeTable, logs: Sequence[Path], *, seconds: float) -> None:
    lines = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
    acknowledged = [[line["rows"] for line in each if "rows" in line] for each in lines]
    refused = Counter(line["refused"] for each in lines for line in each if "refused" in line)
    turns = [len(each) for each in acknowledged]
    # what the long form is run for: `pytest -rP --log-level=info` shows it
    _LOG.info("%s turns in %s s, refused %s", turns, seconds, dict(refused))
    found = rows_of(table)
    assert found == {i: tuple(row) for each in acknowledged for i, row in each[-1]}
    assert _offsets(table.head()) == _stream_counts(found)
    assert stock_rows(table.lake.settings, str(TABLE)) == found
    loaded = table.iceberg()
    check_files(loaded.metadata, loaded.io)
    _check_history(loaded.metadata)


def _check_history(metadata: TableMetadata) -> None:
    """Check that no snapshot takes an offset back, or sets it twice."""
    last: dict[tuple[str, str], int] = {}
    for snapshot in sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0):
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        for name in (name for name in summary if name.startswith(operations.OFFSETS_PREFIX)):
            for partition, offset in json.loads(summary[name]).items():
                assert offset > last.get((name, partition), 0)
                last[name, partition] = offset
    assert last


def _offsets(version: TableVersion) -> dict[int, int]:
    return {
        number: operations.offsets(version, key).get(str(number), 0)
        for number, key in enumerate(_STREAMS)
    }


def _stream_counts(rows: Rows) -> dict[int, int]:
    counts = Counter(i // _IDS for i in rows)
    return {number: counts[number] for number in range(len(_STREAMS))}
