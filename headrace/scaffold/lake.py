"""Writes the files of a new lake, and brings headrace's macros in an existing one up to date."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from headrace.errors import SettingReason, SettingsError
from headrace.scaffold.shells import shell_folder

_SETTINGS = "lake/lake.toml"  # written last: a lake that has it was completed
_PROJECT = "dbt_project"
_PACKAGE = f"{_PROJECT}/dbt_packages/headrace"
_PACKAGE_FILE = "name: headrace\nconfig-version: 2\nmacro-paths: [macros]\ntest-paths: [tests]\n"
_OF_EVERY_LAKE = ("definitions.py", f"{_PROJECT}/dbt_project.yml", f"{_PROJECT}/profiles.yml")


class Step(StrEnum):
    """What happens to one file: it is written, replaced by a newer one, or stays as it is."""

    WRITE = "written"
    RENEW = "renewed"
    KEEP = "kept"


@dataclass(frozen=True, kw_only=True)
class LakeFile:
    """One file of a new lake, by its path below the lake's root.

    `owned` files are headrace's, and renewed; the others belong to the user once they are there.
    """

    path: str
    content: bytes
    owned: bool
    step: Step


@dataclass(frozen=True, kw_only=True)
class LakePlan:
    """What `apply_lake` writes, in this order."""

    root: Path
    files: tuple[LakeFile, ...]

    @property
    def changed(self) -> tuple[LakeFile, ...]:
        """The files that are not kept."""
        return tuple(file for file in self.files if file.step is not Step.KEEP)


def plan_lake(root: Path) -> LakePlan:
    """Plan the files of a lake in `root`; writes nothing, and a second plan has no changes.

    A file that is there stays, whatever it holds, but for headrace's own macros. A folder that is a
    lake already gets the dbt project and `definitions.py` if it lacks them, and no examples.

    Raises:
        SettingsError: If a file is where a folder has to be, or cannot be read.

    """
    is_lake = (root / _SETTINGS).exists()
    has_project = (root / _PROJECT / "dbt_project.yml").exists()
    planned: list[LakeFile] = []
    for path, content, owned in _contents(shell_folder()):
        if (
            is_lake
            and not owned
            and (path not in _OF_EVERY_LAKE or has_project and _PROJECT in path)
        ):
            continue
        planned.append(
            LakeFile(
                path=path, content=content, owned=owned, step=_step(root / path, content, owned)
            )
        )
    return LakePlan(root=root, files=tuple(planned))


def apply_lake(plan: LakePlan) -> None:
    """Write what a plan says. Safe to kill and to run again.

    Raises:
        SettingsError: If the disk refuses; what was written stays.

    """
    for file in plan.changed:
        path = plan.root / file.path
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(file.content)
            draft.replace(path)
        except OSError as error:
            msg = f"`{path}` cannot be written: {error.strerror}; what was written before it stays"
            raise SettingsError(msg, setting=str(path), reason=SettingReason.UNREADABLE) from error


def _contents(shells: Path) -> Iterator[tuple[str, bytes, bool]]:
    """Yield path, content and whether headrace owns it, the settings last."""
    macros, last = shells / _PROJECT / "macros", b""
    for path, content in _files(macros):
        # dbt lets only the project itself replace what is built in
        in_project = path.startswith("root/")
        place = (
            f"{_PROJECT}/macros/headrace/{path[5:]}" if in_project else f"{_PACKAGE}/macros/{path}"
        )
        yield place, content, True
    for path, content in _files(shells / _PROJECT / "tests"):
        yield f"{_PACKAGE}/tests/{path}", content, True
    yield f"{_PACKAGE}/dbt_project.yml", _PACKAGE_FILE.encode(), True
    yield f"{_PROJECT}/profiles.yml", (shells / _PROJECT / "profiles.yml").read_bytes(), False
    for path, content in _files(shells / "new_lake"):
        if path == _SETTINGS:
            last = content
        elif path == "gitignore":  # a wheel's build would obey it under its own name
            yield ".gitignore", content, False
        else:
            owned = path == f"{_PROJECT}/macros/headrace/is_incremental.sql"
            yield path, content, owned
    yield _SETTINGS, last, False


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def _step(path: Path, content: bytes, owned: bool) -> Step:
    try:
        there = path.read_bytes() if path.exists() else None
    except OSError as error:
        msg = f"`{path}` cannot be read: {error.strerror}; nothing was written"
        raise SettingsError(msg, setting=str(path), reason=SettingReason.UNREADABLE) from error
    if there is None:
        return Step.WRITE
    return Step.RENEW if owned and there != content else Step.KEEP
