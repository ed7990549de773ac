"""Refuses a write to the online store that was planned from another state of the view."""

from headrace.serving.store import Guard, ViewState


class MovedError(Exception):
    """The store is no longer in the state that the publication was planned from."""


def unmoved(planned_on: ViewState | None) -> Guard:
    """Return a guard that raises `MovedError` unless the view is still in this state."""

    def guard(found: ViewState | None) -> None:
        if found != planned_on:
            raise MovedError

    return guard
