"""What the server answers: vectors, scores and rankings from one store, and at most one model."""

import datetime as dt
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.definitions.sample_set import SampleSet
from headrace.errors import (
    EntityKeyError,
    FeatureSpecError,
    FeatureSpecReason,
    LakeError,
    ModelMismatchError,
    NotAFeatureViewError,
)
from headrace.serving.kept import times_of
from headrace.serving.scorer import Scorer
from headrace.serving.server.log import ServingLog
from headrace.serving.server.models import Models
from headrace.serving.server.passed_on import stored_texts
from headrace.serving.server.wire import (
    RankRequest,
    ScoreRequest,
    VectorsRequest,
    entity_values,
    list_of,
)
from headrace.serving.store import OnlineStore, ViewState
from headrace.serving.values import plain, plain_column
from headrace.serving.vectors import Vectors, Wanted, lookup_vectors


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether requests can be answered; `reasons` say why not."""

    ready: bool
    reasons: tuple[str, ...]


class Service:
    """Answers requests; safe to use from many threads.

    Args:
        store: Where the views are published.
        sample_sets: Those that requests may name.
        scorer: The model, if there is one.
        log: Where answers are noted, if they are.

    """

    def __init__(
        self,
        store: OnlineStore,
        sample_sets: Mapping[str, SampleSet],
        scorer: Scorer | None = None,
        log: ServingLog | None = None,
    ) -> None:
        self._store, self._sample_sets = store, sample_sets
        self._models = Models(scorer)
        self.log = log
        self._known: dict[str, ViewState] = {}

    def use(self, scorer: Scorer) -> bool:
        """Score with another model from the next request on, and say so.

        One that knows another definition than the published one waits, and the former one stays: it
        scores from the moment that its definition is served, and the former one after a rollback.

        Raises:
            ModelMismatchError: If the views are published by another definition than it knows, and
                there is no former model.
            NotAFeatureViewError: If a view of it is not published; the former model stays.

        """
        try:
            self._refuse_other(scorer)
        except ModelMismatchError:
            if self._models.first is None:
                raise
            self._models.add(scorer, fits=False)
            return False
        self._models.add(scorer, fits=True)
        return True

    def readiness(self) -> Readiness:
        """Look whether the store answers, every view is published and the model fits them."""
        reasons: list[str] = []
        uses = [use.view for each in self._sample_sets.values() for use in each.features]
        names = list(dict.fromkeys(str(view) for view in uses))
        try:
            self._store.views()  # also where no sample set names a view
            self._states(names)
            if self._models.first is not None:
                self._models.first_that_fits(self._refuse_other)
        except LakeError as error:
            reasons.append(error.text())
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    def vectors(self, request: VectorsRequest) -> dict[str, Any]:
        """Look up vectors: values by row, and for each view why a row has none.

        A view's `as_of` and `held_back` say what its publication could not know: an entity is
        `missing` too if all its rows, of those days, were to be known later than `as_of`.

        Raises:
            FeatureSpecError: If the request names neither a sample set nor views, or both, or views
                with columns of the same name.
            NotAFeatureViewError, EntityKeyError: See `lookup_vectors`.

        """
        begun_s = time.perf_counter()
        found = self._look_up(self._wanted(request), request.entities, request.at)
        names = found.names()
        if self.log is not None and request.sample_set is not None:
            took_s = time.perf_counter() - begun_s
            self.log.note(request.sample_set, request.entities, found, took_s=took_s)
        return {
            "at": found.at.isoformat(),
            "names": names,
            "values": _values(found, len(request.entities)),
            "views": [
                {
                    "view": view.state.view,
                    "snapshot_id": str(view.state.snapshot_id),
                    "as_of": view.state.as_of.isoformat(),
                    "held_back": [day.isoformat() for day in view.state.held_back],
                    "names": list(view.use.column_names),
                    "status": list(view.statuses),
                    "event_time": [times and times[0] for times in times_of(view.rows)],
                }
                for view in found.views
            ],
        }

    def score(self, request: ScoreRequest) -> dict[str, Any]:
        """Score rows; the score is null where the model returns no finite number.

        Raises:
            ModelNotLoadedError: If the server has no model.
            ModelMismatchError: If a view is published by another definition than the model knows.
            FeatureSpecError: If a row lacks a column of the exposure, or has another type.

        """
        scorer, found, columns, scores = self._scored(request.rows, request.at)
        answer = _about(scorer, found) | {"scores": scores}
        if request.explain:
            answer["inputs"] = _inputs(columns, range(len(scores)))
        return answer

    def rank(self, request: RankRequest) -> dict[str, Any]:
        """Order candidates by their score, greatest first; equal ones keep the request's order.

        Those without a score come last.

        Raises as `score` does.
        """
        rows = [{**request.context, **each} for each in request.candidates]
        scorer, found, columns, scores = self._scored(rows, request.at)
        order = sorted(range(len(scores)), key=lambda number: _rank(scores[number]))[: request.top]
        ranked = [{"candidate": number, "score": scores[number]} for number in order]
        answer = _about(scorer, found) | {"ranked": ranked}
        if request.explain:
            answer["inputs"] = _inputs(columns, order)
        return answer

    def _scored(
        self, rows: Sequence[Mapping[str, Any]], at: dt.datetime | None
    ) -> tuple[Scorer, Vectors, Mapping[str, Sequence[Any]], list[float | None]]:
        begun_s = time.perf_counter()

        def look_up(scorer: Scorer) -> Vectors:
            found = self._look_up(scorer.uses, rows, at)
            scorer.refuse_other({view.state.view: view.stored for view in found.views})
            return found

        scorer, found = self._models.first_that_fits(look_up)
        columns: dict[str, Sequence[Any]] = dict(found.columns())
        for name in scorer.given:
            missing = [number for number, row in enumerate(rows) if name not in row]
            if missing:
                msg = f"row {missing[0]} does not give `{name}`, a column of the exposure"
                reason = FeatureSpecReason.NOT_GIVEN
                raise FeatureSpecError(msg, reason=reason, column=name)
            columns[name] = [row[name] for row in rows]
        # a model may return NaN, which JSON has not and which no order has a place for
        found_scores: list[float] = scorer.score(columns).tolist()
        scores = [score if math.isfinite(score) else None for score in found_scores]
        if self.log is not None:
            name, took_s = scorer.recipe.name, time.perf_counter() - begun_s
            self.log.note(name, rows, found, scores=scores, model=scorer.model.name, took_s=took_s)
        return scorer, found, columns, scores

    def _refuse_other(self, scorer: Scorer) -> None:
        scorer.refuse_other(self._states([str(use.view) for use in scorer.uses]))

    def _look_up(
        self, wanted: Sequence[Wanted], rows: Sequence[Mapping[str, Any]], at: dt.datetime | None
    ) -> Vectors:
        names = [str(getattr(each, "view", each)) for each in wanted]
        states = self._known_states(names)
        while True:
            try:
                entities = entity_values(states, rows)
                return lookup_vectors(self._store, wanted, entities, at=at, known=self._known)
            except EntityKeyError:
                # texts may have been read as of a type that a key has no longer
                now = self._states(names)
                if all(now[state.view].same_shape(state) for state in states):
                    raise
                self._known.update(now)
                states = [now[name] for name in names]

    def _wanted(self, request: VectorsRequest) -> Sequence[Wanted]:
        if (request.sample_set is None) == (request.views is None):
            msg = "name a `sample_set` or `views`, and not both"
            raise FeatureSpecError(msg, reason=FeatureSpecReason.NO_COLUMNS)
        if request.sample_set is None:
            return request.views or ()
        if request.sample_set not in self._sample_sets:
            known = ", ".join(f"`{name}`" for name in self._sample_sets) or "none"
            detail = f"no sample set of this name is declared; there are {known}"
            raise NotAFeatureViewError(request.sample_set, detail)
        return self._sample_sets[request.sample_set].features

    def _known_states(self, names: Sequence[str]) -> list[ViewState]:
        found = {name: self._known.get(name) for name in names}  # other threads may drop one
        states = {name: state for name, state in found.items() if state is not None}
        if missing := [name for name in names if name not in states]:
            asked = self._states(missing)
            self._known.update(asked)
            states |= asked
        return [states[name] for name in names]

    def _states(self, names: Sequence[str]) -> dict[str, ViewState]:
        found = self._store.look_up([(name, ()) for name in names])
        states: dict[str, ViewState] = {}
        for name, each in zip(names, found, strict=True):
            if each.state is None:
                raise NotAFeatureViewError.unpublished(name)
            states[name] = each.state
        return states


def _values(found: Vectors, rows: int) -> Any:  # noqa: ANN401  (JSON)
    """Write the values of each row: as they are stored, where they are those of whole views."""
    texts = stored_texts(found)
    if texts is not None:
        return list_of(texts)
    said = [plain_column(values) for values in found.columns().values()]
    return list(zip(*said, strict=True)) if said else [()] * rows


def _rank(score: float | None) -> tuple[bool, float]:
    return (True, 0.0) if score is None else (False, -score)


def _about(scorer: Scorer, found: Vectors) -> dict[str, Any]:
    model = scorer.model
    return {
        "at": found.at.isoformat(),
        "model": model.name,
        "dataset": f"{model.dataset} v{model.version}",
        "snapshots": {view.state.view: str(view.state.snapshot_id) for view in found.views},
    }


def _inputs(columns: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> list[dict[str, Any]]:
    return [{name: plain(values[row]) for name, values in columns.items()} for row in rows]
