"""Commands of headrace as texts to copy, rendered as those of findings and errors are."""

from headrace.errors import Remedy


def command(*words: str) -> str:
    """Render one command, quoted for a shell."""
    return Remedy.run(*words).line


def commands(*each: tuple[str, ...]) -> str:
    """Render commands to run one after the other, one a line."""
    return "\n".join(command(*words) for words in each)
