"""Two lakes that declare one Paimon table in one warehouse: the second is refused, before it writes or reads."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.properties import TABLE_UUID
from headrace.errors import DefinitionError, PaimonOtherLakeError
from headrace.flink.keyed_begin import refuse_unfit
from headrace.flink.keyed_job import KeyedJob
from headrace.flink.keyed_sql import keyed_shape
from headrace.flink.statements import JobSql
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import declared
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.lakes import refuse_other_lake
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.take import take_changes
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from tests.flink.keyed import contract_of, records
from tests.flink.keyed_tables import note_keyed
from tests.flink.replies import answering
from tests.interop.test_keyed_begin import REPLIES
from tests.raising import refused

STREAM = contract_of("users")
SHAPE = keyed_shape(STREAM)
OTHERS = "6d9c5d0e-5f1c-4b53-9a3e-0c7e2f6d1a11"
TARGET = TableName.parse("features.users")


@pytest.fixture
def lake(settings: Settings, tmp_path: Path) -> Iterator[Lake]:
    """A lake whose stream has rows, and an empty warehouse."""
    (tmp_path / "paimon").mkdir()
    streams = tmp_path / "declared" / "streams"
    streams.mkdir(parents=True)
    said = STREAM.model_dump(mode="json", exclude_defaults=True)
    (streams / "users.yaml").write_text(json.dumps(said))
    found = dataclasses.replace(
        settings,
        paimon_warehouse=f"file://{tmp_path / 'paimon'}",
        declarations=tmp_path / "declared",
    )
    with Lake.open(found) as made:
        table = declared(made, STREAM)
        rows = pa.Table.from_pylist(records(3, keys=2, seed=1), STREAM.table_schema())
        append(table, write_batches(table, rows.to_batches()), provenance=Provenance())
        yield made


def uuid_of(lake: Lake) -> str:
    return str(lake.table(STREAM.table).iceberg().metadata.table_uuid)


def made_for(lake: Lake, uuid: str) -> PaimonTable:
    """Create the Paimon table as the job of a stream's table does, without rows."""
    warehouse = PaimonWarehouse.open(lake.settings)
    options = {**SHAPE.options, TABLE_UUID: uuid}
    return warehouse.create(
        warehouse.describe(SHAPE.name, SHAPE.schema, keys=SHAPE.keys, options=options)
    )


def test_a_job_neither_begins_nor_goes_on_with_the_table_of_another_lake(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyedJob, "sql", lambda *_, **__: JobSql(setup=(), insert="i", plan="p"))
    found = made_for(lake, OTHERS)
    uuid = uuid_of(lake)
    with answering(REPLIES) as (address, asked):
        job = KeyedJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        with refused(PaimonOtherLakeError, table="raw.users", found=OTHERS, expected=uuid):
            job.submit()
        assert job.owner == Owner()
        note_keyed(lake, STREAM.table, found)
        job.set_owner(Owner(), Owner(by=FLINK, epoch=1))
        with refused(PaimonOtherLakeError, found=OTHERS):
            job.submit()
    assert not [path for path, _ in asked if path.endswith("/statements")]


def test_the_table_of_the_lake_itself_is_no_other_and_differs_in_nothing(lake: Lake) -> None:
    found = made_for(lake, uuid_of(lake))
    refuse_other_lake(found.definition, stream_table="raw.users", uuid=uuid_of(lake))
    refuse_unfit(found, SHAPE, subject="paimon:raw.users")


def test_rows_of_another_lake_are_not_taken_for_those_of_the_declared_stream(lake: Lake) -> None:
    with refused(PaimonOtherLakeError, stream_table="raw.users", found=OTHERS):
        take_changes(lake, made_for(lake, OTHERS), TARGET)
    assert lake.head_of(TARGET) is None


def test_a_table_that_nothing_declares_here_may_be_of_any_lake(lake: Lake) -> None:
    (lake.settings.declarations / "streams" / "users.yaml").unlink()
    assert take_changes(lake, made_for(lake, OTHERS), TARGET).rows == 0


def test_nothing_is_taken_while_a_declaration_cannot_be_read_that_may_be_of_the_table(
    lake: Lake,
) -> None:
    (lake.settings.declarations / "streams" / "users.yaml").write_text("stream: [")
    with pytest.raises(DefinitionError) as error:
        take_changes(lake, made_for(lake, OTHERS), TARGET)
    assert "users.yaml" in str(error.value.problems)
    assert lake.head_of(TARGET) is None
