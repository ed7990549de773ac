"""The inputs of an exported model: flat arrays by name, made as training makes its batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headrace.errors import FeatureSpecError, FeatureSpecReason
from headrace.model_inputs.columns import as_floats, as_ids, as_ragged
from headrace.model_inputs.given import typed
from headrace.model_inputs.narrow import noting_overflow
from headrace.model_inputs.spec import FeatureSpec

DENSE = "dense"


def input_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Name the inputs, in the order in which an exported model takes them."""
    lists = (f"{name}.{part}" for name in spec.sequence for part in ("values", "offsets"))
    return (DENSE, *(f"sparse.{name}" for name in spec.sparse), *(f"sequence.{x}" for x in lists))


def encode(
    columns: Mapping[str, Sequence[Any]], *, spec: FeatureSpec, types: pa.Schema
) -> dict[str, NDArray[Any]]:
    """Convert the values of B rows to the inputs of a model.

    Returns:
        `dense`: float32 [B, D]; `sparse.<name>`: int64 [B]; `sequence.<name>.values` and, int64
        [B + 1] from 0 on, `sequence.<name>.offsets`. Nulls, hashes and casts are those of training.

    Raises:
        FeatureSpecError: If a column has values that its type does not hold, or finite numbers that
            float32 does not: the model would be given infinities.

    """
    read = FeatureSpec(
        dense=spec.dense, sparse=spec.sparse, sequence=spec.sequence, missing=spec.missing
    )
    given = typed(columns, read, types)
    rows = len(next(iter(given.values())))
    dense, beyond = np.empty((rows, len(spec.dense)), np.float32), list[str]()
    for at, name in enumerate(spec.dense):
        with noting_overflow(lambda name=name: beyond.append(name)):
            dense[:, at] = as_floats(given[name], missing=spec.missing_number(name))
    arrays = [dense, *(as_ids(given[name], missing=spec.missing_id(name)) for name in spec.sparse)]
    for name in spec.sequence:
        lists = as_ragged(given[name], missing=spec.missing_element(name))
        arrays += [lists.values.to_numpy(zero_copy_only=False), lists.offsets]
        beyond += [name] if lists.overflows else []
    if beyond:
        msg = f"column `{beyond[0]}` has a number beyond float32, as which the model reads it"
        raise FeatureSpecError(msg, reason=FeatureSpecReason.TOO_LARGE, column=beyond[0])
    return dict(zip(input_names(spec), arrays, strict=True))
