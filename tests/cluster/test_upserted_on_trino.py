"""Equality deletes, as the format allows them, are read by Trino, also from manifests written anew."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.trino import TrinoEngine
from headrace.errors import QueryFailedError
from headrace.tables.commits.operations import Provenance, rewrite_manifests
from headrace.tables.lake import LakeTable
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import engine_of, on_servers, shared_lake
from tests.tables.delete_files import written_with_long_ids
from tests.tables.upserted import FORMS, Form, of_one_key, rows_of

pytestmark = pytest.mark.cluster


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


@pytest.fixture
def engine(servers: Servers, lake: Lake) -> Iterator[TrinoEngine]:
    with engine_of(lake.settings) as opened:
        yield opened


def read(engine: TrinoEngine, table: LakeTable, columns: str) -> pa.Table:
    engine.bind("t", table.head())
    return engine.query(f"select {columns} from t").read_all()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_trino_applies_the_deletes(engine: TrinoEngine, lake: Lake, form: Form) -> None:
    table, expected = form(lake)
    assert rows_of(read(engine, table, "id, v")) == expected
    without_the_key = read(engine, table, "v").column("v").to_pylist()
    assert sorted(without_the_key) == sorted(value for _, value in expected)
    rewrite_manifests(table, provenance=Provenance())
    assert rows_of(read(engine, table, "id, v")) == expected


def test_a_table_of_an_earlier_version_is_read_once_its_manifests_are_rewritten(
    engine: TrinoEngine, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with written_with_long_ids(monkeypatch):
        table, expected = of_one_key(lake)
    with pytest.raises(QueryFailedError) as caught:
        read(engine, table, "id, v")
    assert "Error processing metadata" in str(caught.value)
    rewrite_manifests(table, provenance=Provenance())
    assert rows_of(read(engine, table, "id, v")) == expected
