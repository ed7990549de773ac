"""A disk that forgets what was not synced: it builds a folder as a power cut may leave it.

A file's content is safe once the file was synced, and its name once its folder was and all folders
above have safe names too. A change that came later survives or not, each by itself; a rename is one
change, as in every journalling file system. SQLite syncs its files by calls that cannot be seen from
here: they survive as they are, in folders that do.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

Change = Literal["made", "moved", "removed", "written", "half written"]
Fate = Callable[[Change], bool]  # whether a change that was not synced survives
_SQLITE = {".db", ".db-wal", ".db-shm", ".db-journal"}
_FOUND_AGAIN = ".db-shm"  # by the first who opens the database


@dataclass(frozen=True)
class _Content:
    content: bytes = b""
    at_ns: int = 0


class Disk:
    """All below a folder, by inode, as far as it is safe; at the start all of it is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._contents: dict[int, _Content] = {}
        self._names: dict[int, dict[str, int]] = {}  # what each folder holds
        self._pins: dict[int, int] = {}  # the inode of an open file is not used again
        for path in (root, *_below(root)):
            self._keep(path)

    @contextmanager
    def watched(self) -> Generator[None]:
        """Note what this process syncs."""
        sync = os.fsync

        def sync_and_note(descriptor: int) -> None:
            sync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_relative_to(self._root) and path.exists():
                self._keep(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", sync_and_note)  # only a power cut shows it otherwise
            yield
        for pin in self._pins.values():
            os.close(pin)

    def cut(self, to: Path, fate: Fate) -> None:
        """Build in `to` what is left if the power fails now."""
        now = {path.stat().st_ino: path for path in _below(self._root)}
        to.mkdir()
        for number, place in _places(self._safe(), now, fate).items():
            copy = to / place.relative_to(self._root)
            if number in self._names or (number in now and now[number].is_dir()):
                copy.mkdir(parents=True, exist_ok=True)
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            left = self._left(number, now.get(number), fate)
            copy.write_bytes(left.content)
            os.utime(copy, ns=(left.at_ns, left.at_ns))
        for path in self._root.rglob("*.db*"):
            copy = to / path.relative_to(self._root)
            if path.suffix in _SQLITE - {_FOUND_AGAIN} and copy.parent.is_dir():
                copy.write_bytes(path.read_bytes())

    def _left(self, number: int, path: Path | None, fate: Fate) -> _Content:
        safe = self._contents.get(number, _Content())
        now = safe if path is None else _content(path)
        if now == safe or fate("written"):
            return now
        if not safe.content and fate("half written"):
            return _Content(now.content[: len(now.content) // 2], now.at_ns)
        return safe

    def _safe(self) -> dict[int, Path]:
        found: dict[int, Path] = {}
        folders = {self._pinned(self._root): self._root}
        while folders:
            number, folder = folders.popitem()
            below = {held: folder / name for name, held in self._names[number].items()}
            found |= below
            folders |= {held: path for held, path in below.items() if held in self._names}
        return found

    def _keep(self, path: Path) -> None:
        number = self._pinned(path)
        if not path.is_dir():
            self._contents[number] = _content(path)
            return
        before = set(self._names.get(number, {}).values())
        held = {each.name: self._pinned(each) for each in path.iterdir() if _is_seen(each)}
        for names in self._names.values():  # what came from another folder has left it
            for name in [name for name, each in names.items() if each in held.values()]:
                del names[name]
        self._names[number] = held
        if went := before - set(held.values()):
            for each in _below(self._root):
                if each.stat().st_ino in went:
                    self._keep_name(each)

    def _keep_name(self, path: Path) -> None:
        """Keep where a file went, of which only the folder it came from was synced."""
        while path != self._root:
            folder = self._names.setdefault(self._pinned(path.parent), {})
            folder[path.name] = self._pinned(path)
            path = path.parent

    def _pinned(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._pins:
            self._pins[number] = os.open(path, os.O_RDONLY)
        return number


def _places(safe: Mapping[int, Path], now: Mapping[int, Path], fate: Fate) -> dict[int, Path]:
    """Say where each file is found after the cut."""
    places: dict[int, Path] = {}
    for number, path in now.items():
        before = safe.get(number)
        change: Change = "made" if before is None else "moved"
        place = path if path == before or fate(change) else before
        if place is not None:
            places[number] = place
    taken, replaced = set(places.values()), set(now.values())
    for number in safe.keys() - now.keys():
        path = safe[number]
        if path not in taken and (path in replaced or not fate("removed")):
            places[number] = path
    return places


def _below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if _is_seen(path))


def _is_seen(path: Path) -> bool:
    return path.suffix not in _SQLITE


def _content(path: Path) -> _Content:
    return _Content(path.read_bytes(), path.stat().st_mtime_ns)
