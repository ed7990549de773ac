"""What pages of the documentation show to be done, and what they say comes out.

A fenced block with `title="path"` is a file, `console` holds commands after `$` with what they print below,
and `python` is a program; a `text` block right after it is what it prints. In what is printed, `…` stands for
anything within a line, and a line of its own for any number of lines. A command that is to fail ends with
`# status N`. Commands that need a server stand in `bash` blocks, which are not executed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_STATUS = re.compile(r"\s+# status (\d+)$")
_ANY = "…"


@dataclass(frozen=True, kw_only=True)
class Block:
    """One step: a file to write (`text` into `path`), a command or a program to run.

    `shown` is what the page says it prints, empty if it says nothing; `status` how it is to end.
    """

    kind: Literal["file", "command", "python"]
    text: str
    path: str = ""
    shown: str = ""
    status: int = 0


def blocks_of(page: str) -> tuple[Block, ...]:
    """Return what a page shows to be done, in its order."""
    found: list[Block] = []
    fences = list(_BLOCK.finditer(page))
    for at, fence in enumerate(fences):
        language, title, body = fence[1], _TITLE.search(fence[2]), fence[3]
        if title:
            found.append(Block(kind="file", path=title[1], text=body))
        elif language == "console":
            found += _commands(body)
        elif language == "python":
            after = fences[at + 1] if fences[at + 1 :] else None
            near = after is not None and not page[fence.end() : after.start()].strip()
            printed = after[3] if after is not None and near and after[1] == "text" else ""
            found.append(Block(kind="python", text=body, shown=printed))
    return tuple(found)


def _commands(body: str) -> Iterator[Block]:
    for part in re.split(r"^\$ ", body.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        status = _STATUS.search(line)
        yield Block(
            kind="command",
            text=_STATUS.sub("", line),
            shown=shown,
            status=int(status[1]) if status else 0,
        )


def fits(shown: str, printed: str) -> bool:
    """Whether something printed is what a page shows; widths of columns and empty lines do not count."""
    pattern = ""
    for line in _lines(shown):
        if line == _ANY:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(line).replace(re.escape(_ANY), "[^\\n]*?") + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> Iterator[str]:
    yield from (" ".join(line.split()) for line in text.splitlines() if line.strip())
