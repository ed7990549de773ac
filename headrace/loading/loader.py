"""The sample loader: PyTorch batches straight from the Parquet files of a pinned table version."""

import datetime as dt
import hashlib
import json
import time
import warnings
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import pyarrow as pa
from torch.utils.data import get_worker_info

from headrace.datasets.files import FilePlan
from headrace.datasets.lockfile import Lockfile
from headrace.errors import LoaderNotSharableError
from headrace.loading.batch import Batch, Cut, assemble
from headrace.loading.decode import Window, WindowReader
from headrace.loading.epoch import Epoch
from headrace.loading.files import PlanColumns
from headrace.loading.plan import BatchPlan, EpochOrder, Piece, Remainder, Share
from headrace.loading.shuffle import Shuffle
from headrace.loading.state import LoaderState
from headrace.model_inputs.narrow import told
from headrace.model_inputs.spec import FeatureSpec

SPLITS_SHUFFLED = 8
_FINGERPRINT_BYTES = 12


class PublishedFiles(Protocol):
    """What the loader needs of a dataset version: its lockfile and its file plan."""

    @property
    def lock(self) -> Lockfile:
        """Which version of which table this is."""
        ...

    @property
    def files(self) -> FilePlan:
        """The files to read."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoaderStats:
    """Statistics of one loader since it was created.

    `wait_share` is the time that callers waited for decoding, as a share of the time since the
    first batch was requested. `decode_cpu_ns_per_row` is per decoded row; more rows are decoded
    than yielded if a rank uses a part of a row group. `overflows` counts numbers beyond the range
    of float32, which became infinite; the first time, a RuntimeWarning names the columns.
    """

    rows: int
    batches: int
    rows_decoded: int
    overflows: int
    rows_per_s: float
    wait_share: float
    decode_cpu_ns_per_row: float


class SampleLoader:
    """Iterates over the batches of one epoch after another.

    Order: the sequence of global batches is a function of (files, shuffle, epoch,
    `canonical_splits`) and of batch_size x world_size; it does not depend on ranks and threads.
    Without `shuffle` and with one split it is the order of the table. Every rank gets the same
    number of batches, and every batch has exactly `batch_size` rows, except for the last one if
    `remainder` is "keep". Each complete pass increments `epoch`; after an incomplete pass,
    iterating again restarts the same epoch.

    Memory: at most `threads` windows decoded ahead plus one open window for each canonical split
    this rank reads, so (threads + 1) row groups without shuffle. A window is one row group, or
    window_rows / canonical_splits rows rounded up to whole row groups when shuffling. More splits
    than ranks cost memory; with fewer splits than ranks, several ranks decode the same row groups.
    The best value is the largest number of ranks that the job will ever have.

    Speed: start Python with MIMALLOC_PURGE_DELAY=-1 in the environment (Arrow's allocator reads it
    once, when pyarrow is first imported), so that freed memory is reused for the next row group
    instead of being returned and faulted in again. This saves up to half the CPU on a busy host.

    Args:
        source: A dataset version (its `lock` and `files`), or a file plan. Columns and field ids
            are those of the version, regardless of the names in its files.
        spec: The columns to read.
        batch_size: Rows per batch on this rank.
        shuffle: How to mix rows; None keeps the order of the table.
        epoch: The first epoch.
        rank: This process's number, from 0.
        world_size: How many processes share each global batch.
        threads: Decoder threads; 0 decodes in the caller's thread.
        remainder: How to treat the last, partial global batch: "keep" (short), "drop" or "pad"
            (see `Share`). None keeps it with one rank and drops it with several; `rows_dropped` is
            the number of rows that this leaves out per epoch.
        canonical_splits: Part of the order, so do not change it within a job; at most the number
            of row groups. None is 8 with shuffle and 1 without.
        days: Read only these days of a table partitioned by day.

    Raises:
        FeatureSpecError: If the spec does not fit the columns; raised before decoding.
        CorruptFileError: If there is no table version and the first or last file cannot be opened.
        ValueError: If another argument is out of range, or a day is not in the plan.

    """

    def __init__(
        self,
        source: FilePlan | PublishedFiles,
        *,
        spec: FeatureSpec,
        batch_size: int,
        shuffle: Shuffle | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        remainder: Remainder | None = None,
        canonical_splits: int | None = None,
        days: Collection[dt.date] | None = None,
    ) -> None:
        plan = source if isinstance(source, FilePlan) else source.files
        self._lock = None if isinstance(source, FilePlan) else source.lock
        self._plan = plan if days is None else _only_days(plan, days)
        if canonical_splits is None:
            canonical_splits = SPLITS_SHUFFLED if shuffle is not None else 1
        if threads < 0 or canonical_splits < 1:
            msg = f"`threads` is {threads} and `canonical_splits` {canonical_splits}; at least 0 and 1"
            raise ValueError(msg)
        if remainder is None:
            remainder = "keep" if world_size == 1 else "drop"
        self.spec, self.shuffle, self.epoch, self.threads = spec, shuffle, epoch, threads
        self.canonical_splits = canonical_splits
        self.share = Share(
            batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder
        )
        self._reader = _reader(self._plan, spec, source=self._name)
        self._files_hash = _fingerprint(self._plan)
        self._position = 0
        self._resume = False
        self._running: Epoch | None = None
        self._meter = _Meter()
        self._told_overflows = False

    @property
    def schema(self) -> pa.Schema:
        """The available columns, with the types that `batch_of` needs to build equal batches."""
        return self._reader.schema

    @property
    def rows(self) -> int:
        """Rows of an epoch in the files, over all ranks."""
        return self._plan.rows

    @property
    def rows_dropped(self) -> int:
        """Rows that no rank gets in an epoch; with shuffle they differ from epoch to epoch."""
        return self.share.rows_dropped(self.rows)

    @property
    def rows_padded(self) -> int:
        """Rows that are repeated at the end of an epoch, over all ranks."""
        return self.share.rows_padded(self.rows)

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank, the same on every rank."""
        return self.share.batch_count(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; for the current epoch, a position just loaded is kept."""
        if epoch != self.epoch:
            self._stop("its loader went to another epoch")
            self.epoch, self._position, self._resume = epoch, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last yielded batch, as JSON below 1 KB, equal on all ranks."""
        return self._state().to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the next iteration at a saved position, with any number of ranks and threads.

        Raises:
            LoaderStateError: If the position belongs to other files, another spec or another order.

        """
        saved = LoaderState.from_dict(state, current=self._state())
        self._stop("its loader went to a saved position")
        self.epoch, self._position, self._resume = saved.epoch, saved.samples_in_epoch, True

    def stats(self) -> LoaderStats:
        """Return the statistics so far."""
        return self._meter.stats()

    def close(self) -> None:
        """Stop decoding and join the threads; the loader can be iterated again afterwards.

        An unfinished iterator then raises `EpochBrokenOffError`.
        """
        self._stop("its loader was closed")

    def _stop(self, why: str) -> None:
        if self._running is not None:
            self._running.stop(why=why)
            self._running = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or sent to another process."""
        where = "in a copy of itself, nor be pickled"
        raise LoaderNotSharableError(where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        """Start at the loaded position, else at the start of the epoch.

        A loader has one iterator at a time: an older unfinished one raises `EpochBrokenOffError`
        at its next batch. An error of a decoder thread is raised at the batch that needs its rows.

        Raises:
            LoaderNotSharableError: In a worker process of a torch DataLoader.

        """
        if get_worker_info() is not None:
            where = "in a worker of a DataLoader"
            raise LoaderNotSharableError(where)
        self._stop("its loader was iterated again")
        if not self._resume:
            self._position = 0
        self._resume = False
        self._running = Epoch(self._run())
        return self._running

    @property
    def _name(self) -> str:
        lock = self._lock
        return f"{lock.name} v{lock.version} of {lock.table}" if lock else "the file plan"

    def _state(self) -> LoaderState:
        mixing = None if self.shuffle is None else asdict(self.shuffle)
        order = {"splits": self.canonical_splits, "shuffle": mixing}
        return LoaderState(
            source=self._name,
            snapshot_id=self._lock.snapshot_id if self._lock else None,
            files=self._files_hash,
            spec=self.spec.hash,
            order=json.dumps(order, sort_keys=True),
            epoch=self.epoch,
            samples_in_epoch=self._position,
            global_batch=self.share.global_batch,
        )

    def _run(self) -> Generator[Batch, None, None]:
        order = EpochOrder(
            self._plan.files, shuffle=self.shuffle, epoch=self.epoch, splits=self.canonical_splits
        )
        plans = order.batches(self.share, start=self._position)
        with _Prefetch(plans, decode=self._decoder(order), threads=self.threads) as ready:
            open_windows: dict[int, tuple[int, Window]] = {}
            asked = self._meter.start()
            for plan in ready:
                cuts: list[Cut] = []
                for piece in plan.pieces:
                    window = open_windows.get(piece.lane)
                    if window is None or window[0] != piece.window:
                        open_windows.pop(piece.lane, None)
                        open_windows[piece.lane] = window = (
                            piece.window,
                            ready.window(self._meter),
                        )
                    cuts.append(Cut(window[1], piece.start, piece.stop))
                batch = assemble(
                    cuts,
                    spec=self.spec,
                    padding=plan.padding,
                    overflows=self._meter.overflows,
                )
                self._position = plan.stop
                self._meter.batch(len(batch), since=asked)
                self._tell_overflows()
                yield batch
                asked = time.perf_counter()
        self.epoch, self._position, self._running = self.epoch + 1, 0, None

    def _tell_overflows(self) -> None:
        if not self._told_overflows and (found := +self._meter.overflows):
            self._told_overflows = True
            # the caller's frame, above this one, `_run` and `Epoch.__next__`
            warnings.warn(f"{self._name}: {told(found)}", RuntimeWarning, stacklevel=4)

    def _decoder(self, order: EpochOrder) -> "_Decode":
        reader, shuffle, epoch = self._reader, self.shuffle, self.epoch

        def decode(window: int) -> Window:
            rows = None
            if shuffle is not None:
                rows = shuffle.order(order.window_rows(window), epoch=epoch, window=window)
            return reader.read(order.segments(window), rows)

        return decode


class _Decode(Protocol):
    def __call__(self, window: int) -> Window: ...


class _Prefetch:
    """Iterates over the batch plans and decodes the windows they will open, `threads` ahead."""

    def __init__(self, plans: Iterator[BatchPlan], *, decode: _Decode, threads: int) -> None:
        self._plans, self._decode, self._ahead = plans, decode, max(threads, 1)
        self._pool = ThreadPoolExecutor(threads, "headrace-decode") if threads else None
        self._planned: deque[BatchPlan] = deque()
        self._wanted: deque[int] = deque()
        self._futures: deque[Future[Window]] = deque()
        self._open: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[BatchPlan]:
        while True:
            self._submit()
            if not self._planned and not self._plan_one():
                return
            yield self._planned.popleft()

    def window(self, meter: "_Meter") -> Window:
        """Return the next window in the order that the plans open them; waits for it."""
        started = time.perf_counter()
        if self._pool is None:
            window = self._decode(self._wanted.popleft())
        else:
            self._submit()
            window = self._futures.popleft().result()
            self._submit()
        meter.window(window, wait_s=time.perf_counter() - started)
        return window

    def _submit(self) -> None:
        if self._pool is None:
            return
        while len(self._futures) < self._ahead:
            while not self._wanted:
                if not self._plan_one():
                    return
            self._futures.append(self._pool.submit(self._decode, self._wanted.popleft()))

    def _plan_one(self) -> bool:
        plan = next(self._plans, None)
        if plan is None:
            return False
        self._planned.append(plan)
        self._wanted.extend(piece.window for piece in plan.pieces if self._opens(piece))
        return True

    def _opens(self, piece: Piece) -> bool:
        opens = self._open.get(piece.lane) != piece.window
        self._open[piece.lane] = piece.window
        return opens


class _Meter:
    def __init__(self) -> None:
        self.overflows = Counter[str]()
        self._rows = self._batches = self._decoded = self._cpu_ns = 0
        self._wait_s = self._busy_s = 0.0
        self._started_s: float | None = None
        self._last_s = 0.0

    def start(self) -> float:
        now = time.perf_counter()
        if self._started_s is None:
            self._started_s = now
        return now

    def window(self, window: Window, *, wait_s: float) -> None:
        self._decoded += window.rows
        self.overflows.update(window.overflows)
        self._cpu_ns += window.cpu_ns
        self._wait_s += wait_s

    def batch(self, rows: int, *, since: float) -> None:
        self._last_s = time.perf_counter()
        self._rows, self._batches = self._rows + rows, self._batches + 1
        self._busy_s += self._last_s - since

    def stats(self) -> LoaderStats:
        elapsed = self._last_s - self._started_s if self._started_s is not None else 0.0
        return LoaderStats(
            rows=self._rows,
            batches=self._batches,
            rows_decoded=self._decoded,
            overflows=self.overflows.total(),
            rows_per_s=self._rows / elapsed if elapsed > 0 else 0.0,
            wait_share=self._wait_s / elapsed if elapsed > 0 else 0.0,
            decode_cpu_ns_per_row=self._cpu_ns / self._decoded if self._decoded else 0.0,
        )


def _reader(plan: FilePlan, spec: FeatureSpec, *, source: str) -> WindowReader:
    columns = PlanColumns.of(plan)
    if plan.files:
        spec.check(columns.schema, source=source)
    return WindowReader(plan.files, spec=spec, columns=columns)


def _only_days(plan: FilePlan, days: Collection[dt.date]) -> FilePlan:
    wanted = {day.isoformat() for day in days}
    found = {file.partition[0][:10] for file in plan.files if file.partition}
    if missing := sorted(wanted - found):
        msg = f"no file of day {', '.join(missing)}; there are {', '.join(sorted(found)) or 'none'}"
        raise ValueError(msg)
    kept = (file for file in plan.files if file.partition and file.partition[0][:10] in wanted)
    return replace(plan, files=tuple(kept))


def _fingerprint(plan: FilePlan) -> str:
    digest = hashlib.blake2b(digest_size=_FINGERPRINT_BYTES)
    for file in plan.files:
        digest.update(json.dumps([file.path, file.row_group_rows]).encode())
    return digest.hexdigest()
