"""Libraries that work out once in a process what each test would have them work out again."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import typer.main
import typer.testing
from pydantic._internal import _fields
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.util import LRUCache

_STATEMENTS = 1_000


@pytest.fixture(scope="session", autouse=True)
def quick_libraries() -> Iterator[None]:
    """Leave out a third of what a command takes, and a fifteenth of what a commit takes."""
    with pytest.MonkeyPatch.context() as patch:
        # typer reads the signatures of all commands before it runs one of them
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        # pydantic reads the signature of each default's factory for each object that PyIceberg makes
        takes = functools.cache(_fields.takes_validated_data_argument)
        patch.setattr(_fields, "takes_validated_data_argument", takes)
        _compile_once(patch)
        yield


def _compile_once(patch: pytest.MonkeyPatch) -> None:
    """Let databases share their compiled statements, which SQLAlchemy keeps for each, so for each lake.

    A statement is looked up by its dialect too: those of SQLite are all alike here, so they are taken
    as equal.
    """
    shared = LRUCache[Any, Any](_STATEMENTS)
    kept = property(lambda _: shared, lambda _, __: None)
    patch.setattr(sa.Engine, "_compiled_cache", kept, raising=False)
    patch.setattr(SQLiteDialect, "__hash__", lambda dialect: hash(type(dialect)))
    patch.setattr(SQLiteDialect, "__eq__", lambda dialect, other: type(dialect) is type(other))
