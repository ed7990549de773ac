"""Paimon tables that tests write by pypaimon itself, and what lies in the lake's tables after an import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.table import PaimonTable

USERS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("op", pa.string()),  # the kind of a row that is written: `+I` or `-D`
    ]
)
EVENTS = pa.schema([pa.field("id", pa.int64()), pa.field("v", pa.string())])
BY_KEY = {"bucket": "1", "rowkind.field": "op"}
Row = Mapping[str, object]


@dataclass
class Written:
    """A table that a test writes, one snapshot for each call."""

    folder: Path
    name: str
    schema: pa.Schema
    keys: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from pypaimon import CatalogFactory, Schema

        self.catalog: Any = CatalogFactory.create({"warehouse": str(self.folder)})
        self.catalog.create_database(self.name.partition(".")[0], True)
        said = Schema.from_pyarrow_schema(
            self.schema, primary_keys=list(self.keys) or None, options=dict(self.options)
        )
        self.catalog.create_table(self.name, said, False)

    @property
    def opened(self) -> Any:  # noqa: ANN401  (untyped)
        return self.catalog.get_table(self.name)

    def write(self, rows: Sequence[Row], *, overwrite: bool = False) -> None:
        """Commit rows as one snapshot."""
        builder = self.opened.new_batch_write_builder()
        if overwrite:
            builder = builder.overwrite()
        write, commit = builder.new_write(), builder.new_commit()
        write.write_arrow(pa.Table.from_pylist(list(rows), schema=self.schema))
        commit.commit(write.prepare_commit())
        write.close()
        commit.close()

    def put(self, *ids: int, name: str) -> None:
        """Insert or update users."""
        self.write([{"id": each, "name": name, "op": "+I"} for each in ids])

    def remove(self, *ids: int) -> None:
        """Delete users."""
        self.write([{"id": each, "name": None, "op": "-D"} for each in ids])

    def expire(self, *snapshot_ids: int) -> None:
        """Lose the oldest snapshots, as Paimon's expiry does first of all."""
        for each in snapshot_ids:
            (self.path / "snapshot" / f"snapshot-{each}").unlink()
        (self.path / "snapshot" / "EARLIEST").write_text(str(max(snapshot_ids) + 1))

    @property
    def path(self) -> Path:
        database, _, table = self.name.partition(".")
        return self.folder / f"{database}.db" / table

    def table(self) -> PaimonTable:
        """Open it as headrace does."""
        return PaimonWarehouse(f"file://{self.folder}").table(self.name)


def users(folder: Path, **options: str) -> Written:
    """Make an empty table with a key and without a changelog."""
    return Written(folder, "k.users", USERS, ("id",), BY_KEY | options)


def events(folder: Path, **options: str) -> Written:
    """Make an empty table without a key."""
    return Written(folder, "k.events", EVENTS, (), options)


def rows_of(lake: Lake, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Read columns of a table of the lake, in the order of the rows' offsets where they have some."""
    found = lake.table(table).head().to_arrow()
    if "_source_offset" in found.column_names:
        found = found.sort_by("_source_offset")
    return list(zip(*(found.column(name).to_pylist() for name in columns), strict=True))


def replayed(lake: Lake, table: str, *, key: str = "id", value: str = "name") -> dict[Any, Any]:
    """Apply the changes that an import took, oldest first."""
    state: dict[Any, Any] = {}
    for kind, at, found in rows_of(lake, table, "_row_kind", key, value):
        if kind in ("+I", "+U"):
            state[at] = found
        elif kind == "-D":
            state.pop(at, None)
    return state


def refuses_repeats(lake: Lake, table: str) -> None:
    """Assert that no change was taken twice."""
    offsets = [offset for (offset,) in rows_of(lake, table, "_source_offset")]
    assert len(offsets) == len(set(offsets))
