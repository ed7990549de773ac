"""Errors of cleaning up: of files that are too young to remove, or whose use is unknown, and of the trash."""

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.reasons import CleanupReason
from headrace.errors.remedy import Remedy


class CleanupTooYoungError(LakeError, ValueError):
    """A clean-up was asked to remove files that a running job may still need."""

    def __init__(self, table: str, *, asked_s: float, floor_s: float, setting: str) -> None:
        self.table, self.asked_s, self.floor_s, self.setting = table, asked_s, floor_s, setting
        super().__init__(
            f"files of `{table}` are safe to remove once they are {floor_s / 3600:g} h old, not "
            f"{asked_s / 3600:g} h: a running job or an undo may need younger ones",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice=f"the limit is `{setting}` in lake.toml"),
        )


class CleanupRefusedError(LakeError):
    """It is unknown which files of a table are still needed.

    `path` names the file or folder that stands in the way, and `other` the other table, if it is one.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: CleanupReason,
        path: str | None = None,
        other: str | None = None,
    ) -> None:
        self.table, self.detail, self.reason = table, detail, reason
        self.path, self.other = path, other
        super().__init__(
            f"`{table}` was not cleaned up: {detail}", state="every file is where it was"
        )


class GarbageKeptError(LakeError):
    """The table forbids expiry and removal of files, because other tables may share its files."""

    def __init__(self, table: str, *, refused: str) -> None:
        self.table, self.refused = table, refused
        super().__init__(
            f"{refused} of `{table}` is refused: its property `gc.enabled` is not `true`, so other "
            "tables may share its files",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="if they do not, set it to `true` with the program that set it"),
        )


class TrashNotFoundError(LakeError):
    """The table's trash has no such run."""

    def __init__(self, table: str, run_id: str, *, known: tuple[str, ...]) -> None:
        self.table, self.run_id, self.known = table, run_id, known
        listed = ", ".join(f"`{run}`" for run in known) or "none"
        super().__init__(
            f"the trash of `{table}` has no run `{run_id[:80]}`; its runs: {listed}",
            remedy=Remedy.run_on_catalog("tables", "trash", table, advice="see what it holds"),
        )
