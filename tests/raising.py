"""Assert that something is refused by type and by the facts of the error, not by its wording."""

import contextlib
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from headrace.errors import LakeError

_E = TypeVar("_E", bound=LakeError)


@contextlib.contextmanager
def refused(kind: type[_E], /, **facts: object) -> Generator[pytest.ExceptionInfo[_E]]:
    """Expect an error of a type, whose attributes have these values."""
    with pytest.raises(kind) as found:
        yield found
    assert {name: getattr(found.value, name) for name in facts} == facts


def said(kind: type[LakeError], act: Callable[[], object]) -> str:
    """Return what an act that is refused says, for a page of `tests/golden`."""
    with pytest.raises(kind) as found:
        act()
    return found.value.text()
