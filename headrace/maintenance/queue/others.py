"""Tables of another format in the queue: who knows them proposes their actions, and performs these."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headrace.maintenance.queue.actions import Action, Waiting


class Others(Protocol):
    """The tables of one other format."""

    def proposed(self) -> "Iterable[Action | Waiting]":
        """List every action that would help one of them, due or not; leave out what cannot be read."""
        ...

    def perform(self, action: "Action") -> str:
        """Perform one; say what became of it, in a few words. Empty if nothing was left to do.

        Raises:
            LakeError: If it failed; the table's rows are as before.

        """
        ...
