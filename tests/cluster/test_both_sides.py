"""Tables that both sides change: deletes, schemas and specs of each are read by the other, row by row."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyiceberg.manifest import ManifestContent
from pyiceberg.schema import index_by_id

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.iceberg.avro import schema_written
from headrace.iceberg.manifests import manifests_of
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables import alter
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import FILES, on_servers, shared_lake
from tests.tables.factories import add, events_table

TABLE = f"{FILES}.raw.events"
ROWS = 20


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    made = events_table(lake)
    for day in range(2):
        add(made, range(day * ROWS, (day + 1) * ROWS), day=day)
    return made


def agree(servers: Servers, table: LakeTable, *, rows: int) -> None:
    """Check that headrace, PyIceberg alone and Trino read the same rows and columns."""
    ours = table.head().to_arrow().sort_by("id")
    columns = ", ".join(f'"{name}"' for name in ours.column_names)
    theirs = servers.query(f"select {columns} from {TABLE} order by id")
    assert [list(row.values()) for row in ours.to_pylist()] == [list(row) for row in theirs]
    stock = table.lake.catalog.load_table(str(table.name)).scan().to_arrow().sort_by("id")
    assert stock.to_pylist() == ours.to_pylist()
    assert ours.num_rows == rows


def test_what_trino_deletes_evolves_and_partitions_anew_is_read_here(
    servers: Servers, table: LakeTable
) -> None:
    statements = (
        f"delete from {TABLE} where id % 4 = 0",
        f"alter table {TABLE} add column extra bigint",
        f"alter table {TABLE} rename column name to title",
        f"alter table {TABLE} set properties partitioning = array['bucket(id, 3)']",
        f"update {TABLE} set extra = id * 2 where id < 10",
        f"insert into {TABLE} select id + 100, title, tags, event_time, 7 from {TABLE} where id % 5 = 1",
        f"alter table {TABLE} drop column tags",
    )
    for statement in statements:
        servers.query(statement)
    kept = [each for each in range(2 * ROWS) if each % 4]
    rows = len(kept) + sum(each % 5 == 1 for each in kept)
    agree(servers, table, rows=rows)
    assert len({each.spec_id for each in table.head().files()}) == 2
    assert compact(table).changed
    agree(servers, table, rows=rows)


def test_what_headrace_deletes_evolves_and_partitions_anew_is_read_by_trino(
    servers: Servers, table: LakeTable
) -> None:
    delete_where(table, "id in (1, 2, 25)", provenance=Provenance())
    alter.add_column(table, "extra", pa.int32())
    alter.widen_column(table, "extra", pa.int64())
    alter.rename_column(table, "name", to="title")
    alter.repartition(table, partition_by=["bucket(3, id)"])
    alter.drop_column(table, "tags")
    servers.query(
        f"insert into {TABLE} (id, title, event_time, extra)"
        " values (2000, 'of trino', timestamp '2024-05-07 00:00:00.000001 UTC', 9007199254740993)"
    )
    agree(servers, table, rows=2 * ROWS - 2)
    assert len({each.spec_id for each in table.head().files()}) == 2


def test_manifests_of_both_sides_have_fields_of_the_same_types(
    servers: Servers, lake: Lake, table: LakeTable
) -> None:
    lake.create(TableName("raw", "theirs"), table.head().schema)
    servers.query(f"insert into {FILES}.raw.theirs select * from {TABLE}")
    servers.query(f"delete from {FILES}.raw.theirs where id = 1")
    ours = types_of(table, ManifestContent.DATA)
    for content in ManifestContent:
        theirs = types_of(lake.table("raw.theirs"), content)
        shared = ours.keys() & theirs.keys()
        assert {each: ours[each] for each in shared} == {each: theirs[each] for each in shared}
        assert {"element", "data_file"} <= {name for _, name in shared}


def types_of(table: LakeTable, content: ManifestContent) -> dict[tuple[int, str], str]:
    """Return the types of the fields of a manifest, and whether each must be there; partitions apart."""
    version = table.head()
    listed = manifests_of(version.snapshot, version.io)
    path = next(each.manifest_path for each in listed if each.content == content)
    fields = index_by_id(schema_written(version.io, path)).values()
    return {
        (each.field_id, each.name): ""
        if each.field_type.is_struct
        else f"{each.field_type} {each.required}"
        for each in fields
    }
