"""Lakes on one PostgreSQL server for tests: a database each, and hosts that share nothing else."""

import contextlib
import secrets
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headrace.config import Settings
from headrace.servers import REGISTRY_SCHEMA, in_schema, secret


@contextlib.contextmanager
def new_database(server: str) -> Generator[sa.URL]:
    """Make an empty database on a server; drop it in the end, whoever is connected."""
    name = f"lake_{secrets.token_hex(6)}"
    sql(sa.make_url(server), f"create database {name}")
    yield sa.make_url(server).set(database=name)
    sql(sa.make_url(server), f"drop database if exists {name} with (force)")


def on_servers(settings: Settings, database: sa.URL, *, folder: Path) -> Settings:
    """Put a lake's catalog and registry into a database, and its files into a shared folder."""
    uri = secret(database.render_as_string(hide_password=False))
    return replace(
        settings,
        catalog_server=uri,
        registry_server=in_schema(uri, REGISTRY_SCHEMA),
        declared_warehouse=f"file://{folder}",
    )


def host(settings: Settings, name: str) -> Settings:
    """Return the settings of a host: its state folder is its own, all else is shared."""
    return replace(settings, state_dir=settings.state_dir / name)


def sql(url: sa.URL, *statements: str) -> list[Any]:
    """Run statements, each in a transaction of its own; return the rows of the last."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(each) for each in statements]
        return list(found[-1]) if found[-1].returns_rows else []
