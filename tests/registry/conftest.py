"""An empty database for each test, in every kind that a registry can be in."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.registry import Registry
from tests.postgres import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: a file, or a schema of its own on the server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    return new_schema(request.getfixturevalue("server"))


def new_schema(server: str) -> str:
    """Make an empty schema on the server; return the URI that leads to it."""
    schema = f"r{secrets.token_hex(8)}"
    with database(server).begin() as connection:
        connection.exec_driver_sql(f"create schema {schema}")
    url = sa.make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture
def registry(uri: str) -> Iterator[Registry]:
    with closing(Registry(uri)) as registry:
        yield registry


def database(uri: str) -> sa.Engine:
    """Reach a database past the registry, without keeping connections."""
    return sa.create_engine(uri, poolclass=sa.NullPool)
