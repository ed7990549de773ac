"""Batches: the input of a model, assembled from pieces of decoded windows."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from headrace.errors import NotAMatrixError
from headrace.loading.decode import Block, Window
from headrace.model_inputs.columns import Ragged, as_floats, as_ids, as_ragged
from headrace.model_inputs.given import inferred, typed
from headrace.model_inputs.narrow import count_overflow, noting_overflow, told
from headrace.model_inputs.spec import FeatureSpec


@dataclass(frozen=True)
class RaggedTensor:
    """Lists of one column: list i of the batch is `values[offsets[i]:offsets[i + 1]]`.

    `offsets` is int64 [B + 1] and starts at 0, as `torch.nn.functional.embedding_bag` expects it
    with `include_last_offset=True`.
    """

    values: torch.Tensor
    offsets: torch.Tensor

    def matrix(self, width: int) -> torch.Tensor:
        """Return lists of `width` values each, such as embeddings, as [B, width]; nothing is copied.

        If some lists are empty, as null ones read, their rows are zeros, and the rest is copied.

        Raises:
            NotAMatrixError: If a list has another number of values; it says which row.

        """
        lengths = self.offsets[1:] - self.offsets[:-1]
        if self.values.numel() == len(lengths) * width and bool((lengths == width).all()):
            return self.values.view(len(lengths), width)
        wrong = torch.nonzero((lengths != width) & (lengths != 0)).flatten()
        if len(wrong):
            row = int(wrong[0])
            raise NotAMatrixError(row, values=int(lengths[row]), width=width)
        whole = self.values.new_zeros(len(lengths), width)
        whole[lengths != 0] = self.values.view(-1, width)
        return whole

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Copy to a device."""
        return type(self)(
            self.values.to(device, non_blocking=non_blocking),
            self.offsets.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Self:
        """Copy into page-locked memory."""
        return type(self)(self.values.pin_memory(), self.offsets.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`len(batch)` rows.

    Attributes:
        dense: float32 [B, D], columns as in `FeatureSpec.dense`.
        labels: float32 [B, L], columns as in `FeatureSpec.label`.
        sparse: int64 [B] per column, by name.
        sequence: (values, offsets) per column, by name; views of decoded memory shared with other
            batches, so treat them as read-only.
        weight: float32 [B], or None.
        keys: The key column as an Arrow array, or None; it stays on the host.
        padding: How many rows at the end repeat rows from the start of the epoch (0 unless
            `remainder="pad"`); exclude them from the loss and from metrics.

    """

    dense: torch.Tensor
    labels: torch.Tensor
    sparse: Mapping[str, torch.Tensor]
    sequence: Mapping[str, RaggedTensor]
    weight: torch.Tensor | None
    keys: pa.Array | None
    padding: int

    def __len__(self) -> int:
        return self.dense.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Copy the tensors to a device; on `non_blocking` see `torch.Tensor.to`."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        return Batch(
            dense=move(self.dense),
            labels=move(self.labels),
            sparse={name: move(ids) for name, ids in self.sparse.items()},
            sequence={
                name: lists.to(device, non_blocking=non_blocking)
                for name, lists in self.sequence.items()
            },
            weight=None if self.weight is None else move(self.weight),
            keys=self.keys,
            padding=self.padding,
        )

    def pin_memory(self) -> "Batch":
        """Copy the tensors into page-locked memory; needs a CUDA build of torch."""
        return Batch(
            dense=self.dense.pin_memory(),
            labels=self.labels.pin_memory(),
            sparse={name: ids.pin_memory() for name, ids in self.sparse.items()},
            sequence={name: lists.pin_memory() for name, lists in self.sequence.items()},
            weight=None if self.weight is None else self.weight.pin_memory(),
            keys=self.keys,
            padding=self.padding,
        )


@dataclass(frozen=True)
class Cut:
    """Rows `start` to `stop` of a window."""

    window: Window
    start: int
    stop: int


def batch_of(
    rows: Sequence[Mapping[str, Any]], *, spec: FeatureSpec, types: pa.Schema | None = None
) -> Batch:
    """Build a batch from Python values, such as a served feature vector, by the loader's rules.

    Nulls, hashes and casts are treated as in training. A value that is not given is missing;
    labels, weight and key are not included.

    Args:
        rows: Values by column name.
        spec: The columns to read.
        types: The types used in training: `SampleLoader.schema` or the `schema` of a version.
            Values are converted to them exactly. By default types are inferred from the values; if
            there are only nulls and empty lists, numbers are double, ids long and lists of float.

    Raises:
        FeatureSpecError: If the values of a column have mixed types or not its type; it names the
            column.

    """
    inputs = FeatureSpec(
        dense=spec.dense, sparse=spec.sparse, sequence=spec.sequence, missing=spec.missing
    )
    columns = {name: [row.get(name) for row in rows] for name in inputs.columns}
    given = inferred(columns, inputs) if types is None else typed(columns, inputs, types)
    floats = [as_floats(given[name], missing=spec.missing_number(name)) for name in spec.dense]
    ids = [as_ids(given[name], missing=spec.missing_id(name)) for name in spec.sparse]
    ragged = [as_ragged(given[name], missing=spec.missing_element(name)) for name in spec.sequence]
    overflows = Counter(
        {name: lists.overflows for name, lists in zip(spec.sequence, ragged, strict=True)}
    )
    window = Window(
        rows=len(rows),
        floats=Block(tuple(floats), None),
        ids=Block(tuple(ids), None),
        ragged=tuple(ragged),
        keys=None,
        cpu_ns=0,
        overflows=overflows,
    )
    batch = assemble([Cut(window, 0, len(rows))], spec=inputs, padding=0, overflows=overflows)
    if found := +overflows:
        warnings.warn(told(found), RuntimeWarning, stacklevel=2)
    return batch


def assemble(
    cuts: Sequence[Cut], *, spec: FeatureSpec, padding: int, overflows: Counter[str]
) -> Batch:
    """Concatenate the cuts to one batch; counts numbers that became infinite in `overflows`."""
    floats = _floats(
        [(cut.window.floats, cut.start, cut.stop) for cut in cuts],
        names=spec.numbers,
        overflows=overflows,
    )
    ids = _matrix([(cut.window.ids, cut.start, cut.stop) for cut in cuts], np.int64)
    dense, labels = len(spec.dense), len(spec.dense) + len(spec.label)
    return Batch(
        dense=floats[:, :dense],
        labels=floats[:, dense:labels],
        sparse={name: ids[:, at] for at, name in enumerate(spec.sparse)},
        sequence={
            name: _lists([(cut.window.ragged[at], cut.start, cut.stop) for cut in cuts])
            for at, name in enumerate(spec.sequence)
        },
        weight=floats[:, labels] if spec.weight is not None else None,
        keys=_keys(cuts) if spec.key is not None else None,
        padding=padding,
    )


def _floats(
    parts: list[tuple[Block, int, int]], *, names: Sequence[str], overflows: Counter[str]
) -> torch.Tensor:
    noted: list[bool] = []
    with noting_overflow(lambda: noted.append(True)):
        found = _matrix(parts, np.float32)
    for place, name in enumerate(names if noted else ()):
        for block, start, stop in parts:
            wide = (block.columns or ())[place][start:stop]
            with np.errstate(over="ignore"):
                overflows[name] += count_overflow(wide, wide.astype(np.float32))
    return found


def _matrix(parts: list[tuple[Block, int, int]], dtype: type[np.generic]) -> torch.Tensor:
    """Build a [B, K] matrix with at most one copy; shuffled rows of one window are a view.

    Separate columns fill a [K, B] block that is returned transposed: 13 ns per row of 40 columns,
    where `torch.stack(dim=1)` takes 112 (measured).
    """
    rows = [block.rows[start:stop] for block, start, stop in parts if block.rows is not None]
    if rows:
        return torch.from_numpy(rows[0] if len(rows) == 1 else np.concatenate(rows))
    width = len(parts[0][0].columns or ())
    out: NDArray[Any] = np.empty((width, sum(stop - start for _, start, stop in parts)), dtype)
    at = 0
    for block, start, stop in parts:
        for place, column in enumerate(block.columns or ()):
            out[place, at : at + stop - start] = column[start:stop]
        at += stop - start
    return torch.from_numpy(out).t()


def _lists(parts: list[tuple[Ragged, int, int]]) -> RaggedTensor:
    values: list[pa.Array] = []
    offsets = [np.zeros(1, np.int64)]
    total = 0
    for column, start, stop in parts:
        spans = column.offsets[start : stop + 1]
        first, last = int(spans[0]), int(spans[-1])
        values.append(column.values.slice(first, last - first))
        offsets.append(spans[1:] - (first - total))
        total += last - first
    if len(values) == 1:
        joined = _tensor(values[0])
    else:
        # Not torch.cat: its threads compete with the decoders (7,000 ns per row on a busy host).
        joined = torch.from_numpy(np.concatenate([part.to_numpy() for part in values]))
    return RaggedTensor(joined, torch.from_numpy(np.concatenate(offsets)))


def _tensor(values: pa.Array) -> torch.Tensor:
    """View Arrow memory as a tensor, through DLPack, which unlike numpy has no read-only warning."""
    if len(values) == 0:
        return torch.empty(0, dtype=torch.int64 if values.type == pa.int64() else torch.float32)
    return torch.from_dlpack(values)


def _keys(cuts: Sequence[Cut]) -> pa.Array:
    parts = [
        cut.window.keys.slice(cut.start, cut.stop - cut.start)
        for cut in cuts
        if cut.window.keys is not None
    ]
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
