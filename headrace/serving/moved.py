"""Refuses a write to the online store that was planned from another state of the view, or for another version."""

from headrace.serving.store import Guard, ViewState


class MovedError(Exception):
    """The store is no longer in the state that the publication was planned from."""


class VersionMovedError(Exception):
    """A name of the store has another version of the view than the one a publication was chosen for."""


def unmoved(planned_on: ViewState | None) -> Guard:
    """Return a guard that raises `MovedError` unless the view is still in this state."""

    def guard(found: ViewState | None) -> None:
        if found != planned_on:
            raise MovedError

    return guard


def is_same_version(found: ViewState | None, planned_on: ViewState | None) -> bool:
    """Whether a name still has the version that it had, or none; publications make no other of it."""
    if found is None or planned_on is None:
        return found is planned_on
    return found.same_shape(planned_on) and found.ttl == planned_on.ttl


def same_version(planned_on: ViewState | None) -> Guard:
    """Return a guard that raises `VersionMovedError` where the name has another version by now."""

    def guard(found: ViewState | None) -> None:
        if not is_same_version(found, planned_on):
            raise VersionMovedError

    return guard
