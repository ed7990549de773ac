"""Assert that something is refused by type and by the facts of the error, not by its wording."""

import contextlib
from collections.abc import Generator
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
