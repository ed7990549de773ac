"""Chooses the engine that settings name. Only this file imports implementations."""

from headrace.config import Settings
from headrace.engines.base import Engine
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import SettingsError


def open_engine(settings: Settings) -> Engine:
    """Start the engine of `settings.engine`; the caller closes it.

    Raises:
        SettingsError: If headrace has no engine of that name.
        StorageError: If its temporary files have no place.

    """
    if settings.engine == "duckdb":
        return DuckDBEngine.open(settings)
    msg = f"there is no engine `{settings.engine}`; set `engine` to `duckdb`"
    raise SettingsError(msg)
