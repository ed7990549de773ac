"""The reference of errors: each code with its meaning, exit status, an example and what to do."""

import inspect
from collections.abc import Iterator

from headrace.cli.failures import exit_status
from headrace.errors import LakeError, Reason, code_of
from tests.errors.examples import EXAMPLES

_INTRO = """# Errors

An error has a code, which never changes, says what happened and what state is left, and what to do. With
`--output json` it is one line of JSON on stderr ([its keys](../command-line.md#errors-as-json)); `status` below is
[the exit status](../command-line.md#exit-status) of a command that ends with it. Messages are examples; do not
rely on their words."""


def errors_page() -> str:
    """Return the page of every code, in alphabetical order."""
    shown = {type(each): each for each in reversed(EXAMPLES)}
    ordered = sorted(shown.values(), key=lambda each: each.code)
    parts = [part for each in ordered for part in _shown(each)]
    return "\n\n".join((_INTRO, *parts)) + "\n"


def every_code() -> Iterator[str]:
    """Yield the code of each error."""
    yield from sorted({code_of(type(each)) for each in EXAMPLES})


def _shown(error: LakeError) -> Iterator[str]:
    yield f"## {error.code}"
    yield inspect.getdoc(type(error)) or ""
    again = "; running the same command again may help" if error.retryable else ""
    yield f"`{type(error).__name__}`, status {exit_status(error)}{again}"
    family = inspect.signature(type(error).__init__).parameters.get("reason")
    if (
        family is not None
        and isinstance(family.annotation, type)
        and issubclass(family.annotation, Reason)
    ):
        yield "Reasons: " + ", ".join(f"`{each}`" for each in family.annotation)
    said = error.message
    if error.remedy is not None:
        said += "".join(f"\n→ {part}" for part in str(error.remedy).split("; "))
    yield f"```text\n{said}\n```"
