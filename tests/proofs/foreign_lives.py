"""Lives of tables that stock PyIceberg writes: specs, schemas and refs change, rows are deleted.

A life is drawn from a seed, so that one number says how to see a failure again. Rows and names are odd
in what concerns paths, partitions and refs; types and values at their edges are `foreign_tables`' part.
"""

import datetime as dt
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.update import AssertTableUUID, RemoveSchemasUpdate
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    VoidTransform,
    YearTransform,
)
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from headrace.maintenance.compaction.bins import CompactionPolicy, Strategy
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.maintenance.cleanup.cleaning import clean
from tests.tables.delete_files import delete_positions

NAME = "ns.t"
_AT = dt.datetime(2024, 2, 28, 23, tzinfo=dt.UTC)
_VALUES: list[tuple[IcebergType, list[Any], list[Transform[Any, Any]]]] = [
    (
        StringType(),
        ["", "a", "a/b", "b\0c", "%00", "..", "#?", "ü", "null", " "],
        [IdentityTransform(), TruncateTransform(2), BucketTransform(3)],
    ),
    (
        IntegerType(),
        [-(2**31), -1, 0, 7, 2**31 - 1],
        [IdentityTransform(), TruncateTransform(5), BucketTransform(3)],
    ),
    (LongType(), [-(2**53), 0, 1, 2**62], [IdentityTransform(), BucketTransform(2)]),
    (
        DateType(),
        [dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(2024, 2, 29)],
        [IdentityTransform(), YearTransform(), MonthTransform(), DayTransform()],
    ),
    (
        TimestamptzType(),
        [_AT, _AT + dt.timedelta(hours=1), dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC)],
        [DayTransform(), HourTransform(), MonthTransform()],
    ),
    (DecimalType(9, 2), [Decimal("-0.01"), Decimal("1234.50")], [BucketTransform(2)]),
    (BinaryType(), [b"", b"\0", b"\xff/"], [BucketTransform(2)]),
]
_NAMES = ["p", "q ü", "%2F", "select", 'a "b"', "x=y"]
_WAYS = {type_: (values, transforms) for type_, values, transforms in _VALUES}


class Life:
    """One table, written by stock PyIceberg and looked after by headrace."""

    def __init__(self, catalog: Catalog, folder: Path, *, seed: int) -> None:
        self.catalog, self.chance, self.count = catalog, random.Random(seed), 0
        properties = self._properties(folder)
        fields = [NestedField(1, "id", LongType())]
        for name in self.chance.sample(_NAMES, 3):
            kind = self.chance.choice(_VALUES)[0]
            fields.append(NestedField(len(fields) + 1, name, kind))
        schema = Schema(*fields)
        catalog.create_table(
            NAME,
            schema,
            location=f"file://{folder}/wh ü/{self.chance.choice(['t', 'a b', 't=1'])}",
            partition_spec=PartitionSpec(*self._partition_fields(schema)),
            properties=properties,
        )
        self.append()

    def _properties(self, folder: Path) -> dict[str, str]:
        said = {
            "format-version": self.chance.choice(["1", "2"]),
            "history.expire.max-snapshot-age-ms": "1",
            "history.expire.min-snapshots-to-keep": self.chance.choice(["1", "3"]),
        }
        often = {
            "write.object-storage.enabled": "true",
            "write.object-storage.partitioned-paths": "false",
            "write.data.path": f"file://{folder}/{self.chance.choice(['else where', 'wh ü/t/data/x'])}",
            "write.metadata.path": f"file://{folder}/meta data",
            "write.metadata.delete-after-commit.enabled": "true",
            "write.metadata.previous-versions-max": "2",
            "write.target-file-size-bytes": "3000",
        }
        return said | {key: value for key, value in often.items() if self.chance.random() < 0.3}

    def _partition_fields(self, schema: Schema) -> list[PartitionField]:
        sources = self.chance.sample(schema.fields[1:], self.chance.randint(0, 2))
        return [
            PartitionField(source.field_id, 1000 + at, self._transform(source), f"part {at}")
            for at, source in enumerate(sources)
        ]

    def _transform(self, source: NestedField) -> Transform[Any, Any]:
        if self.chance.random() < 0.2:
            return VoidTransform()
        return self.chance.choice(_WAYS[source.field_type][1])

    @property
    def table(self) -> Table:
        """The table as stock PyIceberg loads it now."""
        return self.catalog.load_table(NAME)

    def rows(self) -> dict[str, list[str]]:
        """Read the head and every ref with stock PyIceberg; rows in an order of their own."""
        found = self.table
        scans = {
            # the head in the schema of today, others in the one they were committed with
            name: found.scan() if name == "main" else found.scan(snapshot_id=ref.snapshot_id)
            for name, ref in found.metadata.refs.items()
        }
        return {
            name: sorted(map(repr, scan.to_arrow().to_pylist())) for name, scan in scans.items()
        }

    def change(self) -> None:
        """Change the table as its owner does."""
        ways: list[Callable[[], None]] = [
            self.append,
            self.append,
            self.delete,
            self.name_it,
            self.evolve_schema,
            self.evolve_spec,
            self.forget_schemas,
        ]
        self.chance.choice(ways)()

    def append(self, branch: str = "main") -> None:
        arrow = self.table.schema().as_arrow()
        count = self.chance.randint(1, 6)
        columns = [self._column(field, count) for field in self.table.schema().fields]
        rows = pa.Table.from_arrays(
            [pa.array(each, field.type) for each, field in zip(columns, arrow, strict=True)],
            schema=arrow,
        )
        self.table.append(rows, branch=branch)

    def _column(self, field: NestedField, count: int) -> list[Any]:
        if field.name == "id":
            self.count += count
            return list(range(self.count - count, self.count))
        return self.chance.choices([*_WAYS[field.field_type][0], None], k=count)

    def delete(self) -> None:
        ids = self.table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
        if ids:
            self.table.delete(f"id = {self.chance.choice(ids)}")

    def name_it(self) -> None:
        head = self.table.current_snapshot()
        assert head is not None
        name = f"r{self.chance.randrange(5)}"
        if name in self.table.metadata.refs:
            return
        made = self.table.manage_snapshots()
        if self.chance.random() < 0.5:
            made.create_tag(head.snapshot_id, name).commit()
        else:
            made.create_branch(head.snapshot_id, name).commit()
            self.append(branch=name)

    def evolve_schema(self) -> None:
        current = self.table
        partitioned = {f.source_id for f in current.spec().fields}
        free = [f for f in current.schema().fields[1:] if f.field_id not in partitioned]
        with current.update_schema() as update:
            names = set(_NAMES) - {f.name for f in current.schema().fields}
            way = self.chance.randrange(3)
            if way == 0 and names:
                update.add_column((min(names),), self.chance.choice(_VALUES)[0])
            elif way == 1 and len(free) > 1:
                update.delete_column((self.chance.choice(free).name,))
            elif free and names:
                update.rename_column((self.chance.choice(free).name,), max(names))

    def evolve_spec(self) -> None:
        current = self.table
        fields = [f for f in current.spec().fields if not isinstance(f.transform, VoidTransform)]
        with current.update_spec() as update:
            if fields and self.chance.random() < 0.7:
                update.remove_field(self.chance.choice(fields).name)
                return
            used = {f.source_id for f in current.spec().fields}
            free = [f for f in current.schema().fields[1:] if f.field_id not in used]
            if free:
                source = self.chance.choice(free)
                transform = self.chance.choice(_WAYS[source.field_type][1])
                update.add_field(source.name, transform, f"part {self.chance.random()}")

    def forget_schemas(self) -> None:
        metadata = self.table.metadata
        used = {s.schema_id for s in metadata.snapshots} | {metadata.current_schema_id}
        gone = [s.schema_id for s in metadata.schemas if s.schema_id not in used]
        if gone:
            update = RemoveSchemasUpdate.model_validate({"schema-ids": gone})
            uuid = AssertTableUUID(uuid=metadata.table_uuid)
            self.catalog.commit_table(self.table, (uuid,), (update,))

    def upgrade(self) -> None:
        if self.table.metadata.format_version == 1:
            with self.table.transaction() as change:
                change.upgrade_table_version(2)

    def delete_by_position(self, table: LakeTable) -> None:
        """Delete rows in a file of the current spec, as engines that merge on read do."""
        spec_id = table.iceberg().metadata.default_spec_id
        files = [file for file in table.head().files() if file.spec_id == spec_id]
        if files:
            file = self.chance.choice(files)
            delete_positions(table, {file: [self.chance.randrange(file.rows)]})

    def maintain(self, table: LakeTable) -> str:
        """Do one thing that maintenance does; say what."""
        ways: list[Callable[[LakeTable], object]] = [
            self.pack,
            self.sort,
            self.list_anew,
            self.expire,
            self.clean_up,
        ]
        way = self.chance.choice(ways)
        way(table)
        return way.__name__

    def pack(self, table: LakeTable) -> None:
        compact(table)

    def sort(self, table: LakeTable) -> None:
        names = [f.name for f in self.table.schema().fields]
        keys = tuple(self.chance.sample(names, self.chance.randint(1, 2)))
        compact(table, policy=CompactionPolicy(strategy=Strategy.SORT, sort_by=keys))

    def list_anew(self, table: LakeTable) -> None:
        operations.rewrite_manifests(table, provenance=Provenance())

    def expire(self, table: LakeTable) -> None:
        operations.expire(table, keep=1, before_ms=1 << 62)

    def clean_up(self, table: LakeTable) -> None:
        clean(table, hours=40 * 24)
