"""Changes of table properties by commits, so that moving `main` moves the properties with it.

Offsets, watermarks and the like are properties of a table, not of a snapshot. Each commit records
in its summary the old and new values of the properties it changed: a rollback undoes these changes
and a fast-forward repeats them, so rows and offsets always agree.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.definitions.properties import OFFSETS_PREFIX
from headrace.errors import OffsetsUnknownError
from headrace.identifiers import TableName
from headrace.registry import CommitRecord

SEALED = (
    "/sealed"  # among offsets: the newest seal of the sources that the ledger has; no source's name
)

# one property: the whole text before and after, or only the changed keys of a JSON object
_Move = list[Any] | dict[str, list[Any]]


def moves_of(before: Mapping[str, str], updates: Mapping[str, str | None]) -> dict[str, _Move]:
    """Return how `updates` change the properties `before`."""
    return {
        name: _move(before.get(name), text)
        for name, text in updates.items()
        if before.get(name) != text
    }


def _move(old: str | None, new: str | None) -> _Move:
    was, is_now = _object(old), _object(new)
    if was is None or is_now is None:
        return [old, new]
    return {
        key: [was.get(key), is_now.get(key)]
        for key in {**was, **is_now}
        if was.get(key) != is_now.get(key)
    }


def value_after(commits: Iterable[CommitRecord], name: str) -> str | None:
    """Return what commits, newest first, leave a property at; None if they do not say or removed it."""
    later: dict[str, Any] = {}
    for commit in commits:
        move: _Move | None = json.loads(commit.moves or "{}").get(name)
        if isinstance(move, list):
            whole = _object(move[1]) if later else None
            return move[1] if whole is None else _text(whole | later)
        if move:
            later = {key: pair[1] for key, pair in move.items()} | later
    return None


def undo_moves(
    properties: Mapping[str, str], moves: Iterable[str], *, table: str
) -> dict[str, str | None]:
    """Return the properties before `moves`, newest first, where they differ; None removes one.

    Raises:
        OffsetsUnknownError: If the offsets differ from the result of the moves.

    """
    return _replay(properties, moves, table=table, old_at=0)


def redo_moves(
    properties: Mapping[str, str], moves: Iterable[str], *, table: str
) -> dict[str, str | None]:
    """Return the properties after `moves`, oldest first, where they differ; None removes one.

    Raises:
        OffsetsUnknownError: If the offsets differ from the start of the moves.

    """
    return _replay(properties, moves, table=table, old_at=1)


def _replay(
    properties: Mapping[str, str], moves: Iterable[str], *, table: str, old_at: int
) -> dict[str, str | None]:
    now: dict[str, str | None] = dict(properties)
    unsure: set[str] = set()
    for text in moves:
        found: dict[str, _Move] = json.loads(text)
        for name, move in found.items():
            if name in unsure:
                continue
            changed, wanted = _apply(now.get(name), move, to=old_at)
            if changed:
                now[name] = wanted
            elif name.startswith(OFFSETS_PREFIX):
                detail = f"`{name}` is not what its commits say"
                raise OffsetsUnknownError(table, detail, table_property=name)
            else:
                # set outside of any commit since: that value stays
                unsure.add(name)
    return {
        name: value
        for name, value in now.items()
        if name not in unsure and properties.get(name) != value
    }


def _apply(now: str | None, move: _Move, *, to: int) -> tuple[bool, str | None]:
    if isinstance(move, list):
        left = move[1 - to]
        same = now == left or (_object(now) is not None and _object(now) == _object(left))
        return same, move[to]
    found = _object(now)
    if found is None or any(found.get(key) != pair[1 - to] for key, pair in move.items()):
        return False, now
    return True, _text(found | {key: pair[to] for key, pair in move.items()})


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in value.items() if v is not None}, sort_keys=True)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None or not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def known_moves(
    path: Sequence[CommitRecord], *, properties: Mapping[str, str], table: TableName
) -> list[str]:
    """Return how the commits of a path moved the table's properties, in the order of the path.

    Raises:
        OffsetsUnknownError: If the table has offsets and a commit did not record how it moved them.

    """
    fenced = _is_fenced(properties)
    for commit in path:
        if fenced and not commit.moves:
            detail = f"commit {commit.snapshot_id} does not say which offsets it moved"
            raise OffsetsUnknownError(str(table), detail)
    return [commit.moves for commit in path if commit.moves]


def moves_offsets(commit: CommitRecord, *, properties: Mapping[str, str]) -> bool:
    """Whether a commit moved source offsets of its table, or may have."""
    if not commit.moves:
        return _is_fenced(properties)
    return _is_fenced(json.loads(commit.moves))


def _is_fenced(properties: Iterable[str]) -> bool:
    return any(name.startswith(OFFSETS_PREFIX) for name in properties)
