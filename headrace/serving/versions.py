"""The versions of a view in the online store, and what moves one to the place of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.errors import VersionNotReadyError, VersionReason
from headrace.serving.moved import MovedError, is_same_version
from headrace.serving.store import MoveGuard, OnlineStore, ViewState
from headrace.serving.stored_names import VERSIONS, Version, stored_name, view_named


def versions_of(store: OnlineStore, view: str) -> dict[Version, ViewState]:
    """Read which versions a view has in the store, all at one moment."""
    found = store.look_up([(stored_name(view, version), ()) for version in VERSIONS])
    pairs = zip(VERSIONS, found, strict=True)
    return {version: each.state for version, each in pairs if each.state is not None}


@dataclass(frozen=True, kw_only=True)
class VersionMove:
    """Versions of a view that change their places, and the states it was planned on.

    `removed` are the versions that are deleted by it.
    """

    view: str
    moves: tuple[tuple[Version, Version], ...]
    before: Mapping[Version, ViewState]

    @property
    def removed(self) -> tuple[Version, ...]:
        """The versions whose place is taken and which have no other."""
        sources = {old for old, _ in self.moves}
        return tuple(new for _, new in self.moves if new in self.before and new not in sources)


def plan_switch(view: str, found: Mapping[Version, ViewState]) -> VersionMove:
    """Plan to serve the next version; the served one becomes the former one.

    Raises:
        VersionNotReadyError: If there is no next version, or the served one is of a later moment and
            has rows that the next one may lack.

    """
    coming, served = found.get("next"), found.get("served")
    if coming is None:
        raise VersionNotReadyError(view, reason=VersionReason.NO_NEXT)
    if served is None:
        return VersionMove(view=view, moves=(("next", "served"),), before=found)
    _refuse_behind(view, coming, served)
    moves: tuple[tuple[Version, Version], ...] = (("served", "former"), ("next", "served"))
    return VersionMove(view=view, moves=moves, before=found)


def _refuse_behind(view: str, coming: ViewState, served: ViewState) -> None:
    # a version that has every row of the same snapshot keeps its moment: see `plan_publication`
    whole = coming.snapshot_id == served.snapshot_id and not coming.held_back
    if coming.as_of < served.as_of and not whole:
        raise VersionNotReadyError(view, reason=VersionReason.BEHIND)


def plan_rollback(view: str, found: Mapping[Version, ViewState]) -> VersionMove:
    """Plan to serve the former version again; the served one becomes the next one.

    Raises:
        VersionNotReadyError: If there is no former version.

    """
    if "former" not in found or "served" not in found:
        raise VersionNotReadyError(view, reason=VersionReason.NO_FORMER)
    moves: tuple[tuple[Version, Version], ...] = (("served", "next"), ("former", "served"))
    return VersionMove(view=view, moves=moves, before=found)


def apply_move(store: OnlineStore, move: VersionMove) -> None:
    """Move the versions in one step, unless one of them is of another definition by now.

    Publications that came since the plan are fine, unless they left the next version behind the served
    one. Requests that are answered meanwhile have the values of one version each.

    Raises:
        VersionNotReadyError: If a version was moved, removed or defined otherwise since the plan, or is
            behind now; nothing was changed.

    """
    named = [(stored_name(move.view, old), stored_name(move.view, new)) for old, new in move.moves]
    try:
        store.rename(named, guard=_as_planned(move))
    except MovedError as error:
        raise VersionNotReadyError(move.view, reason=VersionReason.MOVED) from error


def apply_retire(store: OnlineStore, state: ViewState) -> None:
    """Delete the version that has this state, unless another one has its name by now.

    Publications that came since are fine.

    Raises:
        VersionNotReadyError: If it was moved, removed or defined otherwise; nothing was deleted.

    """

    def guard(found: ViewState | None) -> None:
        if not is_same_version(found, state):
            raise MovedError

    try:
        store.drop(state.view, guard=guard)
    except MovedError as error:
        raise VersionNotReadyError(view_named(state.view), reason=VersionReason.MOVED) from error


def _as_planned(move: VersionMove) -> MoveGuard:
    planned = {stored_name(move.view, version): state for version, state in move.before.items()}

    def guard(found: Mapping[str, ViewState | None]) -> None:
        for name, state in found.items():
            before = planned.get(name)
            same = state is before if state is None or before is None else state.same_shape(before)
            if not same:
                raise MovedError
        coming, served = (found.get(stored_name(move.view, name)) for name in ("next", "served"))
        if ("next", "served") in move.moves and coming is not None and served is not None:
            _refuse_behind(move.view, coming, served)

    return guard


def shape_facts(states: Sequence[ViewState]) -> list[str]:
    """Say of each state what it has that the first one has not, and the other way round."""
    return [_differences(states[0], state) for state in states]


def _differences(one: ViewState, other: ViewState) -> str:
    mine, theirs = set(one.schema.names), set(other.schema.names)
    said = [f"+{name}" for name in other.schema.names if name not in mine]
    said += [f"-{name}" for name in one.schema.names if name not in theirs]
    both = [name for name in other.schema.names if name in mine]
    said += [
        f"{name}: {one.schema.field(name).type} -> {other.schema.field(name).type}"
        for name in both
        if one.schema.field(name).type != other.schema.field(name).type
    ]
    if one.delay != other.delay:
        said.append(f"delay: {one.delay} -> {other.delay}")
    return ", ".join(said)
