"""One finding: a cause that needs attention, and what removes it."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal, get_args

from headrace.errors import FindingCode, Remedy

Kind = Literal["wrong", "behind", "slow", "unused"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause that needs attention, and the commands that remove it, in their order.

    `kind` is `wrong` where results may be wrong or missing, `behind` where they are old, `slow` where
    they cost more than they should, and `unused` where a declaration has nothing to apply to.
    `concerns` names the tables, streams and stores that
    suffer from it, `since` says since when, if that is known, and `table` which table shows more of
    it. `breaks` means that what it concerns does not work, or must not be trusted. The runbook has a
    section for each `code`.
    """

    kind: Kind
    code: FindingCode
    subject: str
    text: str
    remedies: tuple[Remedy, ...] = ()
    since: dt.datetime | None = None
    table: str = ""
    concerns: tuple[str, ...] = ()
    breaks: bool = False

    @property
    def command(self) -> str:
        """The line that fixes it, as a shell takes it; empty if no command does."""
        return " && \\\n".join(each.line for each in self.remedies if each.command)

    @property
    def advice(self) -> str:
        """What else the remedy says; empty if the commands are all."""
        if len(self.remedies) != 1:
            return ""
        (only,) = self.remedies
        return str(only) if only.otherwise else only.advice
