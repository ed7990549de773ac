"""What to do about an error or a finding: advice, and a command as data that its reader renders."""

import shlex
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One thing to do, and others to choose from.

    `command` holds the arguments of `headrace`, as in `("tables", "compact", "raw.x", "--apply")`;
    `advice` says what no command does, or what the command is for. `takes_catalog` tells whether the
    command has the option `--catalog`: where another catalog than the lake's own is worked on, show
    `on(catalog)`. `otherwise` lists what else helps, in the order to try it.
    """

    advice: str = ""
    command: tuple[str, ...] = ()
    takes_catalog: bool = False
    otherwise: tuple["Remedy", ...] = ()

    @classmethod
    def run(cls, *command: str, advice: str = "") -> "Remedy":
        """Advise a command that works on the lake of the folder it runs in."""
        return cls(command=command, advice=advice)

    @classmethod
    def run_on_catalog(cls, *command: str, advice: str = "") -> "Remedy":
        """Advise a command of tables, which takes `--catalog`."""
        return cls(command=command, advice=advice, takes_catalog=True)

    @classmethod
    def compact(cls, table: str, *, advice: str = "rewrite them") -> "Remedy":
        """Advise a compaction, which rewrites files that an engine or an operation cannot use."""
        return cls.run_on_catalog("tables", "compact", table, "--apply", advice=advice)

    @property
    def line(self) -> str:
        """The command as a shell takes it; empty if there is none."""
        return shlex.join(("headrace", *self.command)) if self.command else ""

    @property
    def steps(self) -> tuple["Remedy", ...]:
        """This and all that else helps, in the order to try it."""
        return (self, *(step for other in self.otherwise for step in other.steps))

    @property
    def lines(self) -> tuple[str, ...]:
        """All commands as a shell takes them, in the order to try them."""
        return tuple(step.line for step in self.steps if step.command)

    def on(self, catalog: str | None) -> "Remedy":
        """Name the catalog in every command that takes one; None is the lake's own."""
        if catalog is None:
            return self
        command = self.command
        if command and self.takes_catalog:
            command = (*command, "--catalog", catalog)
        return replace(
            self,
            command=command,
            takes_catalog=False,
            otherwise=tuple(other.on(catalog) for other in self.otherwise),
        )

    def __str__(self) -> str:
        """Say it as a clause: `take a new name: ...`, `run ...`."""
        own = self.advice
        if self.command:
            own = f"{own}: `{self.line}`" if own else f"run `{self.line}`"
        return "; ".join(part for part in (own, *map(str, self.otherwise)) if part)

    def to_dict(self) -> dict[str, Any]:
        """Write it as JSON does: `command` starts with `headrace` and is None if there is none."""
        return {
            "advice": self.advice or None,
            "command": ["headrace", *self.command] if self.command else None,
            "otherwise": [other.to_dict() for other in self.otherwise],
        }


def advised(text: str, remedy: Remedy | None, *, catalog: str | None = None) -> str:
    """Add what to do to a text; the commands go to `catalog`, if it is given."""
    return text if remedy is None else f"{text}; {remedy.on(catalog)}"
