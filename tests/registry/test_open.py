"""A lake whose registry is on a PostgreSQL server."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from pyiceberg.catalog.sql import SqlCatalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import LakeIncompleteError, RegistryInUseError
from tests.registry.conftest import new_schema
from tests.tables.factories import add, events_table, ids_of


@pytest.fixture
def shared(settings: Settings, server: str) -> Settings:
    return replace(settings, registry_server=SecretStr(new_schema(server)))


def test_a_lake_keeps_its_commits_on_the_server(shared: Settings) -> None:
    with Lake.open(shared) as lake:
        add(events_table(lake), [1, 2])
    assert not shared.registry_file.exists()
    with Lake.existing(shared) as lake:
        assert ids_of(lake.table("raw.events")) == [1, 2]
        assert [each.rows_added for each in lake.registry.commits("raw.events")] == [2]


def test_a_registry_belongs_to_one_lake(shared: Settings) -> None:
    Lake.open(shared).close()
    other = replace(shared, state_dir=shared.state_dir.with_name("other"))
    with pytest.raises(RegistryInUseError) as caught:
        Lake.open(other)
    assert caught.value.owner == f"file://{shared.warehouse}"
    assert caught.value.warehouse == f"file://{other.warehouse}"
    Lake.open(shared).close()


def test_an_empty_registry_beside_files_is_a_lost_one(settings: Settings, server: str) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])
    uri = sa.make_url(new_schema(server))
    secret = uri.password
    assert isinstance(secret, str)
    with_server = replace(
        settings, registry_server=SecretStr(uri.render_as_string(hide_password=False))
    )
    assert secret not in repr(with_server)
    with pytest.raises(LakeIncompleteError) as caught:
        Lake.open(with_server)
    assert secret not in str(caught.value)
    assert caught.value.missing == uri.render_as_string(hide_password=True)


def test_catalogs_of_other_programs_keep_their_registry_in_a_file(
    shared: Settings, tmp_path: Path
) -> None:
    uri, warehouse = f"sqlite:///{tmp_path / 'theirs.db'}", f"file://{tmp_path}"
    with (
        contextlib.closing(SqlCatalog("theirs", uri=uri, warehouse=warehouse)) as catalog,
        Lake.of(catalog, settings=shared) as lake,
    ):
        assert lake.registry.engine.dialect.name == "sqlite"
