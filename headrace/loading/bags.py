"""Bags of embeddings as one step of a graph: torch's own export makes a loop over the rows of a request.

A loop costs some microseconds for each row and list, much more than the sums.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import onnxscript
import torch

_SUM, _MEAN, _MAX = 0, 1, 2
_REDUCTIONS = {_SUM: "add", _MEAN: "add", _MAX: "max"}
_INT64 = 7  # of ONNX
_OF_16_BITS = (torch.float16, torch.bfloat16)
_Value: TypeAlias = Any  # of a graph: its library types none
op: Any = onnxscript.opset18  # its types know no values of a graph


def without_loops(model: torch.nn.Module) -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Return how to translate operations of a model, for `torch.onnx.export`."""
    if any(each.dtype in _OF_16_BITS for each in model.parameters()):
        return {}  # the runtime adds none at scattered places
    return {torch.ops.aten.embedding_bag.padding_idx: _bags}


def _bags(
    weight: _Value,
    indices: _Value,
    offsets: _Value,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: _Value = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[_Value, ...]:
    """Compute what `torch.nn.functional.embedding_bag` returns first; the rest is for gradients."""
    _ = scale_grad_by_freq, sparse  # of gradients
    offsets = op.Cast(offsets, to=_INT64)
    bag = _bag_of_each(indices, offsets)
    rows = op.Gather(weight, indices)
    if per_sample_weights is not None:
        rows = op.Mul(rows, op.Unsqueeze(per_sample_weights, _ints(1)))
    start = op.CastLike(op.Constant(value_float=float("-inf") if mode == _MAX else 0.0), weight)
    counted = op.CastLike(op.Expand(_ints(1), op.Shape(bag)), weight)
    if padding_idx is not None and padding_idx >= 0:
        is_value = op.Not(op.Equal(op.Unsqueeze(indices, _ints(1)), _ints(padding_idx)))
        counted = op.CastLike(is_value, weight)
        rows = op.Where(is_value, rows, start)
    count = op.Shape(offsets)
    shape = op.Concat(count, op.Slice(op.Shape(weight), _ints(1), _ints(2)), axis=0)
    found = op.ScatterElements(
        op.Expand(start, shape),
        op.Expand(bag, op.Shape(rows)),
        rows,
        axis=0,
        reduction=_REDUCTIONS[mode],
    )
    if mode != _SUM:
        none = op.CastLike(op.Constant(value_float=0.0), weight)
        nothing = op.Expand(none, op.Concat(count, _ints(1), axis=0))
        sizes = op.ScatterElements(nothing, bag, counted, axis=0, reduction="add")
        one = op.CastLike(op.Constant(value_float=1.0), weight)
        if mode == _MEAN:
            found = op.Div(found, op.Max(sizes, one))
        else:
            found = op.Where(op.Equal(sizes, none), none, found)
    if include_last_offset:  # what comes after the last bag, which is nothing
        found = op.Slice(found, _ints(0), _ints(-1), _ints(0))
    return found, *(op.Identity(bag) for _ in range(3))  # which nothing reads


def _bag_of_each(indices: _Value, offsets: _Value) -> _Value:
    """Return the bag of each element, [N, 1]: the last one that begins before it or there."""
    ends = op.Add(op.Shape(indices), _ints(1))  # empty bags may begin after the last element
    begins = op.ScatterElements(
        op.Expand(_ints(0), ends),
        offsets,
        op.Expand(_ints(1), op.Shape(offsets)),
        axis=0,
        reduction="add",
    )
    begun = op.Slice(op.CumSum(begins, _ints(0)), _ints(0), _ints(-1), _ints(0))
    return op.Unsqueeze(op.Sub(begun, _ints(1)), _ints(1))


def _ints(value: int) -> _Value:
    return op.Constant(value_ints=[value])
