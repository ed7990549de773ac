"""Exports a trained model as an ONNX graph that is scored without torch, and checks what it computes."""

import logging
import shutil
import uuid
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
import torch

from headrace.datasets.lockfile import Lockfile
from headrace.errors import ModelNotExportedError
from headrace.loading.batch import Batch, RaggedTensor
from headrace.model_inputs.encode import input_names
from headrace.model_inputs.exported import FACTS, GRAPH, ExportedModel, Output, sha256_of
from headrace.model_inputs.spec import FeatureSpec

_CHECKED_ROWS = (1, 2, 7, 200)  # a size that became a constant of the graph shows with another one
_TOLERANCE = 1e-4
_IDS = (-1, 0, 1, 999, 2**40, 2**62)  # -1 stands for what is missing
_LISTS_MAX = 4


def export_model(
    model: torch.nn.Module,
    *,
    spec: FeatureSpec,
    types: pa.Schema,
    lock: Lockfile,
    folder: Path,
    output: Output = "logit",
) -> ExportedModel:
    """Write a model that takes a `Batch` and returns one number per row, [B], as `folder`.

    The graph is compared with the model on random inputs of 1, 2, 7 and 200 rows, each input drawn by
    itself. The folder appears whole, or stays as it was; a kill at its very end can leave the former
    model beside it, in `.<name>.former`.

    Args:
        model: In evaluation mode it must depend on nothing but its inputs.
        spec: What it was trained with.
        types: The columns of training: `SampleLoader.schema`, or the `schema` of a version.
        lock: The dataset version it was trained on.
        folder: Where to write; a model that was exported there is replaced.
        output: What the numbers are: log-odds, or probabilities.

    Raises:
        ModelNotExportedError: If torch cannot export it, the graph returns other numbers, or the folder
            holds something else than an exported model.

    """
    _refuse_other_files(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # not by `tempfile`, whose folders nobody else may read: servers run as other users
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    draft.mkdir()
    was_training = model.training
    try:
        flat = _Flat(model, spec).eval()
        _write_graph(flat, spec, types, draft / GRAPH)
        _compare(flat, spec, types, draft / GRAPH)
        exported = ExportedModel(
            dataset=lock.name,
            version=lock.version,
            content_hash=lock.content_hash,
            code=lock.code,
            recipe=lock.definition,
            spec=spec,
            types=pa.schema([types.field(name) for name in spec.columns if name in types.names]),
            output=output,
            sha256=sha256_of(draft / GRAPH),
        )
        exported.save(draft)
        _put_in_place(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        model.train(was_training)
    return exported


def _refuse_other_files(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        detail = f"`{folder}` is a file"
        raise ModelNotExportedError(detail)
    others = sorted({each.name for each in folder.iterdir()} - {GRAPH, FACTS})
    if others:
        detail = f"`{folder}` holds `{others[0]}`, which is no part of an exported model; name another folder"
        raise ModelNotExportedError(detail)


def _put_in_place(draft: Path, folder: Path) -> None:
    former = folder.with_name(f".{folder.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if folder.exists():
        folder.replace(former)
    try:
        draft.replace(folder)
    except OSError:
        if former.exists():
            former.replace(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


class _Flat(torch.nn.Module):
    """The model with flat tensors as its inputs, since a graph knows no batches."""

    def __init__(self, model: torch.nn.Module, spec: FeatureSpec) -> None:
        super().__init__()
        self.model, self.spec = model, spec

    def forward(
        self,
        dense: torch.Tensor,
        sparse: Sequence[torch.Tensor],
        sequence: Sequence[tuple[torch.Tensor, torch.Tensor]],
    ) -> torch.Tensor:
        batch = Batch(
            dense=dense,
            labels=dense[:, :0],
            sparse=dict(zip(self.spec.sparse, sparse, strict=True)),
            sequence={
                name: RaggedTensor(*lists)
                for name, lists in zip(self.spec.sequence, sequence, strict=True)
            },
            weight=None,
            keys=None,
            padding=0,
        )
        return self.model(batch)


def _write_graph(flat: _Flat, spec: FeatureSpec, types: pa.Schema, path: Path) -> None:
    rows = {0: torch.export.Dim.DYNAMIC}
    shapes = (rows, tuple(rows for _ in spec.sparse), tuple((rows, rows) for _ in spec.sequence))
    try:
        from headrace.loading.bags import without_loops  # its library is an extra

        with _quietly():
            program = torch.onnx.export(
                flat,
                _random_inputs(spec, types, rows=3, seed=0),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(input_names(spec)),
                verbose=False,
                custom_translation_table=dict(without_loops(flat)),
            )
    except Exception as error:  # torch's errors of exporting have no base but this
        detail = f"torch cannot make a graph of it: {str(error).splitlines()[0]}"
        raise ModelNotExportedError(detail) from error
    assert program is not None  # only `f`, which is not given, makes it None
    program.save(path, external_data=False)


@contextmanager
def _quietly() -> Generator[None]:
    """Keep back what the exporter says about itself, which no user can act on."""
    talkers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in talkers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each in talkers:
                each.setLevel(logging.ERROR)
            yield
    finally:
        for each, level in zip(talkers, levels, strict=True):
            each.setLevel(level)


def _compare(flat: _Flat, spec: FeatureSpec, types: pa.Schema, path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    taken = {each.name for each in session.get_inputs()}
    for rows in _CHECKED_ROWS:
        inputs = _random_inputs(spec, types, rows=rows, seed=rows)
        with torch.inference_mode():
            wanted = flat(*inputs).numpy()
        if wanted.shape != (rows,):
            detail = f"it returns {list(wanted.shape)} for {rows} rows, not one number for each"
            raise ModelNotExportedError(detail)
        given = dict(zip(input_names(spec), _flattened(inputs), strict=True))
        fed = {name: each.numpy() for name, each in given.items() if name in taken}
        found = np.asarray(session.run(None, fed)[0])
        if not np.allclose(found, wanted, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            worst = float(np.nanmax(np.abs(found - wanted)))
            detail = f"for {rows} random rows the graph is off by up to {worst:g}"
            raise ModelNotExportedError(detail)


def _random_inputs(
    spec: FeatureSpec, types: pa.Schema, *, rows: int, seed: int
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, torch.Tensor], ...]]:
    draw = np.random.default_rng(seed)
    dense = torch.from_numpy(draw.random((rows, len(spec.dense)), np.float32))
    sparse = tuple(torch.from_numpy(draw.choice(_IDS, rows)) for _ in spec.sparse)
    sequence: list[tuple[torch.Tensor, torch.Tensor]] = []
    for name in spec.sequence:
        lengths = draw.integers(0, _LISTS_MAX, rows)
        lengths[0] += 1  # an export from empty lists would know of no others
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        values: Any = draw.choice(_IDS, int(offsets[-1]))
        if pt.is_floating(types.field(name).type.value_type):
            values = draw.random(int(offsets[-1]), np.float32)
        sequence.append((torch.from_numpy(values), torch.from_numpy(offsets)))
    return dense, sparse, tuple(sequence)


def _flattened(
    inputs: tuple[
        torch.Tensor, tuple[torch.Tensor, ...], tuple[tuple[torch.Tensor, torch.Tensor], ...]
    ],
) -> list[torch.Tensor]:
    dense, sparse, sequence = inputs
    return [dense, *sparse, *(part for lists in sequence for part in lists)]
