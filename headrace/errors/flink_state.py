"""Errors of the state that a job of Flink would start again from."""

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.flink import FROM_OFFSETS, begin_again, shown


class OldCheckpointError(LakeError):
    """A checkpoint is older than the newest that was committed; from it rows would be written again."""

    def __init__(self, stream: str, *, checkpoint: int, committed: int) -> None:
        self.stream, self.checkpoint, self.committed = stream, checkpoint, committed
        super().__init__(
            f"checkpoint {checkpoint} of {shown(stream)} is older than checkpoint {committed}, "
            "whose rows are in the table: they would be there twice",
            state=NOTHING_CHANGED,
            remedy=begin_again(stream, advice=FROM_OFFSETS),
        )


class CommitsExpiredError(LakeError):
    """Which checkpoints of a job are in a table is not known any more: the snapshots of its commits have expired."""

    def __init__(self, stream: str, *, table: str) -> None:
        self.stream, self.table = stream, table
        super().__init__(
            f"the commits of the job of {shown(stream)} to `{table}` have expired: it would commit again what is "
            "in its state, and may be in the table",
            state=NOTHING_CHANGED,
            remedy=begin_again(stream, advice=FROM_OFFSETS),
        )


class NoCheckpointError(LakeError):
    """There is no checkpoint to start a job from."""

    def __init__(self, stream: str, *, folder: str) -> None:
        self.stream, self.folder = stream, folder
        super().__init__(
            f"no whole checkpoint of {shown(stream)} is in `{folder}`",
            state=NOTHING_CHANGED,
            remedy=begin_again(stream, advice=FROM_OFFSETS),
        )
