"""The models of one server: the one that scores, and the one that takes its place with a definition."""

import threading
from collections.abc import Callable
from typing import TypeVar

from headrace.errors import ModelMismatchError, ModelNotLoadedError, NotAFeatureViewError
from headrace.serving.scorer import Scorer

_T = TypeVar("_T")


class Models:
    """The newest model and the one before it, whichever fits what is published first.

    A switch of a view's versions changes which of the two fits, and a rollback changes it back; both
    are noticed by the next request, without a message to the server. Safe to use from many threads.
    """

    def __init__(self, scorer: Scorer | None = None) -> None:
        self._lock = threading.Lock()
        self._scorers: tuple[Scorer, ...] = () if scorer is None else (scorer,)

    @property
    def first(self) -> Scorer | None:
        """The model that scored last, or will first."""
        return self._scorers[0] if self._scorers else None

    def add(self, scorer: Scorer, *, fits: bool) -> None:
        """Take a model that was read; it scores from now on if it `fits`, else it waits."""
        with self._lock:
            kept = self._scorers[:1]
            self._scorers = (scorer, *kept) if fits else (*kept, scorer)

    def first_that_fits(self, act: Callable[[Scorer], _T]) -> tuple[Scorer, _T]:
        """Return the first model for which `act` does not refuse what is published, and its result.

        Raises:
            ModelNotLoadedError: If there is no model.
            ModelMismatchError: If none fits, as the first one says it.
            NotAFeatureViewError: If a view is not published at all.

        """
        said: ModelMismatchError | None = None
        scorers = self._scorers
        for scorer in scorers:
            try:
                done = act(scorer)
            except ModelMismatchError as error:
                said = said or error
            except NotAFeatureViewError as error:
                if error.column is None:
                    raise
                detail = f"it has no column `{error.column}`"
                said = said or ModelMismatchError(scorer.model.name, error.table, detail)
            else:
                self._prefer(scorer, of=scorers)
                return scorer, done
        if said is None:
            raise ModelNotLoadedError
        raise said

    def _prefer(self, scorer: Scorer, *, of: tuple[Scorer, ...]) -> None:
        if of[0] is scorer:
            return
        with self._lock:
            if self._scorers is of:  # else a model was read meanwhile, which is not to be undone
                self._scorers = (scorer, *(each for each in of if each is not scorer))
