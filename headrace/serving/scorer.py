"""Scores rows with an exported model, by the numbers, ids and lists that training made of them."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headrace.clock import ONE_US
from headrace.definitions.sample_set import FeatureUse
from headrace.definitions.window_differences import differs_from
from headrace.errors import ModelFilesError, ModelMismatchError
from headrace.identifiers import TableName
from headrace.model_inputs.encode import encode
from headrace.model_inputs.exported import GRAPH, ExportedModel
from headrace.samples.resolve import Recipe, ResolvedFeature
from headrace.serving.store import Value, ViewState
from headrace.serving.window_state import windows_of


class Scorer:
    """One exported model; safe to share between threads of the process that opened it."""

    def __init__(self, model: ExportedModel, session: Any) -> None:  # noqa: ANN401  (no types)
        self.model, self._session = model, session
        self.recipe = Recipe.from_json(json.dumps(model.recipe))
        self._taken = {each.name for each in session.get_inputs()}

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> "Scorer":
        """Open what `export_model` wrote; `threads` work on one request.

        Raises:
            ModelFilesError: If it cannot be used.

        """
        model, graph = ExportedModel.read(folder)
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            detail = "`onnxruntime` is not installed; install `headrace[serve]`"
            raise ModelFilesError(str(folder), detail) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # the arena keeps the most that any batch size ever needed
        options.enable_cpu_mem_arena = False
        try:
            session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no base but this
            raise ModelFilesError(str(folder), f"`{GRAPH}` cannot be loaded: {error}") from error
        return cls(model, session)

    @property
    def uses(self) -> tuple[FeatureUse, ...]:
        """The features that it was trained on, by view."""
        stored = [_use(each.view, each.columns, each.ttl_us) for each in self.recipe.features]
        computed = [_use(each.windows.view, each.columns, None) for each in self.recipe.windows]
        return (*stored, *computed)

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that a request must give: those of the exposure that the model reads."""
        stored = {name for use in self.uses for name in use.column_names}
        spec = self.model.spec
        read = dict.fromkeys((*spec.dense, *spec.sparse, *spec.sequence))
        return tuple(name for name in read if name not in stored)

    def refuse_other(self, states: Mapping[str, ViewState]) -> None:
        """Refuse views that are published by another definition than the model knows.

        Raises:
            ModelMismatchError: Naming the view and what differs.

        """
        for feature in self.recipe.features:
            state = states[feature.view]
            differs = _difference(feature, state, self.model)
            if differs:
                raise ModelMismatchError(self.model.name, feature.view, differs)
        for used in self.recipe.windows:
            published = windows_of(states[used.windows.view])
            differs = differs_from(published, used.windows) if published else "it was a window view"
            if differs:
                raise ModelMismatchError(self.model.name, used.windows.view, differs)

    def score(self, columns: Mapping[str, Sequence[Value]]) -> NDArray[np.float64]:
        """Return the probability of each row, [B], float64.

        Raises:
            FeatureSpecError: If a column has values that its type in training does not hold.

        """
        inputs = encode(columns, spec=self.model.spec, types=self.model.types)
        fed = {name: each for name, each in inputs.items() if name in self._taken}
        found = np.asarray(self._session.run(None, fed)[0], np.float64)
        return found if self.model.output == "probability" else 1.0 / (1.0 + np.exp(-found))


def _use(view: str, columns: Sequence[tuple[str, str]], ttl_us: int | None) -> FeatureUse:
    column, named = columns[0]
    return FeatureUse(
        view=TableName.parse(view),
        columns=tuple(name for name, _ in columns),
        ttl=None if ttl_us is None else dt.timedelta(microseconds=ttl_us),
        prefix=named.removesuffix(column),
    )


def _difference(feature: ResolvedFeature, state: ViewState, model: ExportedModel) -> str:
    """Say what a published view is otherwise than in training; "" if nothing is."""
    if feature.entity != state.entity:
        return f"its entity is {', '.join(state.entity)}, was {', '.join(feature.entity)}"
    if feature.delay_us != state.delay // ONE_US:
        delay = dt.timedelta(microseconds=feature.delay_us)
        return f"its delay is {state.delay}, was {delay}"
    if feature.ttl_us is None and state.ttl is not None:
        return f"it has a TTL of {state.ttl}, had none"
    for column, name in feature.columns:
        if column not in state.columns:
            return f"it has no column `{column}`"
        found: pa.DataType = state.schema.field(column).type
        if name in model.types.names and found != model.types.field(name).type:
            return f"`{column}` is {found}, was {model.types.field(name).type}"
    return ""
