"""Chooses the engine that settings name. Only this file imports implementations."""

from headrace.config import Settings
from headrace.engines.base import Engine
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.rewriting import FileRewriter
from headrace.errors import SettingReason, SettingsError


def open_engine(settings: Settings) -> Engine:
    """Start the engine of `settings.engine`; the caller closes it.

    A server is reached at the first statement.

    Raises:
        SettingsError: If headrace has no engine of that name, or its server is not named.
        StorageError: If its temporary files have no place.

    """
    if settings.engine == "duckdb":
        return DuckDBEngine.open(settings)
    if settings.engine == "trino" and settings.trino is not None:
        from headrace.engines.trino import TrinoEngine  # its client is optional

        return TrinoEngine.open(settings, settings.trino)
    msg = f"there is no engine `{settings.engine}`; set `engine` to `duckdb` or `trino`"
    raise SettingsError(msg, setting="engine", reason=SettingReason.NOT_ALLOWED)


def open_rewriter(settings: Settings) -> FileRewriter | None:
    """Reach the server of `settings.engine` that rewrites files; None if the engine has none.

    A server is reached at the first statement; the caller closes it.
    """
    if settings.engine != "trino" or settings.trino is None:
        return None
    from headrace.engines.trino_optimize import TrinoRewriter  # its client is optional

    return TrinoRewriter.open(settings, settings.trino)
