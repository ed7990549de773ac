"""A stream with a keyed table, its rows in many orders of arrival, and what the table must be."""

import dataclasses
import datetime as dt
import random
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.definitions.keyed_form import FROM, PLACE
from headrace.definitions.stream import Stream
from headrace.flink.keyed_job import KeyedJob
from headrace.flink.keyed_sql import CATALOG, keyed_table_sql
from headrace.flink.paimon_ties import ties_of
from headrace.flink.paimon_upkeep import PaimonUpkeep
from headrace.flink.session import SESSION
from headrace.flink.statements import option_list
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.stream_tables import declared
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.take import take_changes
from headrace.maintenance.queue.actions import Action, Kind
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from infra.launcher import flink, s3
from infra.launcher.cluster import Cluster
from tests.flink.contracts import EVERY_TYPE
from tests.flink.streams import settings_of
from tests.interop.warehouses import refuses_repeats

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
FIELDS = EVERY_TYPE | {"prices": {"type": "list<double>"}, "times": {"type": "list<timestamptz>"}}
Row = dict[str, Any]


def contract_of(name: str, keyed: Any = "paimon") -> Stream:  # noqa: ANN401  (of a contract)
    """Return the contract of a stream of files, with a keyed table and every type that one has."""
    return Stream.model_validate(
        {
            "stream": name,
            "table": f"raw.{name}",
            "source": {"files": "*.jsonl"},
            "format": "json",
            "key": "id",
            "event_time": "at",
            "keyed": keyed,
            "fields": FIELDS,
        }
    )


@dataclasses.dataclass(frozen=True)
class Keyed:
    """A stream with a keyed table, and the job that keeps it."""

    lake: Lake
    cluster: Cluster
    stream: Stream

    @classmethod
    def make(cls, lake: Lake, cluster: Cluster, keyed: Any = "paimon") -> "Keyed":  # noqa: ANN401
        """Declare a stream in a lake of a warehouse; its table has no rows."""
        stream = contract_of(f"k{uuid.uuid4().hex[:10]}", keyed)
        declared(lake, stream)
        return cls(lake, cluster, stream)

    @property
    def job(self) -> KeyedJob:
        # a JobManager that starts again may have another port
        access = FlinkAccess(
            uri=flink.JobManager().address(self.cluster),
            gateway_uri=flink.Gateway().address(self.cluster),
        )
        return KeyedJob(self.lake, self.stream, access=access)

    @property
    def name(self) -> str:
        return str(self.stream.keyed_table)

    @property
    def table(self) -> PaimonTable:
        return PaimonWarehouse.open(self.lake.settings).table(self.name)

    def create(self, **options: str) -> None:
        """Create the Paimon table as its job would, with options of maintenance besides."""
        job = self.job
        made = keyed_table_sql(self.stream, job.warehouse, table_uuid=job.table_uuid)
        named = ".".join(f"`{part}`" for part in (CATALOG, *self.name.split(".")))
        more = f"alter table {named} set ({option_list(options)})"
        job.gateway.run((*made, more), properties=SESSION)

    def expire(self) -> int:
        """Expire what may, where the lake keeps two snapshots; return the one that was taken last."""
        access = FlinkAccess(
            uri=flink.JobManager().address(self.cluster),
            gateway_uri=flink.Gateway().address(self.cluster),
        )
        settings = dataclasses.replace(self.lake.settings, snapshots_kept=2, flink=access)
        with Lake.open(settings) as lake:
            upkeep = PaimonUpkeep(lake=lake)
            (due,) = (
                each
                for each in upkeep.proposed()
                if isinstance(each, Action)
                and each.key == (f"paimon:{self.name}", Kind.PAIMON_EXPIRE.value, "")
            )
            assert upkeep.perform(due)
            tokens = ties_of(lake).tokens
        return max(each.snapshot_id for each in tokens.values() if each.table == self.name)

    def add(self, rows: list[Row]) -> None:
        """Append rows in one commit."""
        batches = pa.Table.from_pylist(rows, self.stream.table_schema()).to_batches()
        table = self.lake.table(self.stream.table)
        append(table, write_batches(table, batches), provenance=Provenance())

    def state(self, *, tag: str | None = None) -> dict[str, Row]:
        """Read the Paimon table, or what a tag keeps, as headrace merges it, by key."""
        warehouse = PaimonWarehouse.open(self.lake.settings)
        if self.name not in warehouse.names():
            return {}
        table = warehouse.table(self.name)
        if not table.snapshots():
            return {}
        snapshot = table.snapshots()[-1] if tag is None else table.tags()[tag]
        rows = [r for b in state_rows(table, snapshot, tag=tag) for r in b.to_pylist()]
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: row for row in rows}

    def taken(self) -> dict[str, Row]:
        """Take every change that was not taken, and return the table that they make, by key."""
        table = PaimonWarehouse.open(self.lake.settings).table(self.name)
        name = f"{self.stream.table}_taken"
        take_changes(self.lake, table, TableName.parse(name))
        refuses_repeats(self.lake, name)
        found = self.lake.table(name).head().to_arrow().sort_by("_source_offset")
        columns = table.definition.schema.names
        state: dict[str, Row] = {}
        for row in found.to_pylist():
            if row["_row_kind"] in ("+I", "+U"):
                state[row["id"]] = {name: row[name] for name in columns}
        return state


def warehouse_settings(cluster: Cluster, folder: Path) -> Any:  # noqa: ANN401  (Settings)
    """Return the settings of a lake with a Paimon warehouse of its own on S3."""
    uri = f"s3://{s3.BUCKET}/paimon-{uuid.uuid4().hex[:10]}"
    return dataclasses.replace(settings_of(cluster, folder), paimon_warehouse=uri)


def records(count: int, *, keys: int, seed: int) -> list[Row]:
    """Return records of some keys; their times are in no order, and many are equal."""
    rng = random.Random(seed)

    def maybe(value: Any) -> Any:  # noqa: ANN401  (of any type)
        return value if rng.random() < 0.7 else None

    def record(number: int) -> Row:
        at = NOON + dt.timedelta(microseconds=rng.randrange(3))
        return {
            "id": f"u{rng.randrange(keys)}",
            "event_time": at,
            "known_at": NOON + dt.timedelta(microseconds=rng.randrange(2)),
            "small": maybe(number),
            "large": maybe(number << 40),
            "single": maybe(number / 4),
            "double": maybe(number / 10),
            "flag": maybe(number % 2 == 0),
            "day": maybe(NOON.date() - dt.timedelta(days=number)),
            "price": maybe(pa.scalar(number, pa.decimal128(10, 2)).as_py()),
            "seen_ms": maybe(at),
            "seen_us": maybe(dt.datetime(1960, 1, 1, tzinfo=dt.UTC)),
            "items": maybe([number, None, -number]),
            "tags": maybe([f"ä{number}", None]),
            "flags": maybe([True, None]),
            "prices": maybe([number / 3]),
            "times": maybe([at, None]),
            "_source": rng.choice(["a", "a\u00e4"]),
            "_source_partition": rng.choice([9, 10]),
            "_source_offset": number,
            "_source_time": None,
        }

    return [record(number) for number in range(count)]


def arrivals(sent: list[Row], *, worlds: int, commits: int, seed: int) -> list[list[Row]]:
    """Let the same records arrive in several orders, one for each world, some of them again, in commits.

    The keys of a world begin with its number.
    """
    rng = random.Random(seed)
    found: list[list[Row]] = [[] for _ in range(commits)]
    for world in range(worlds):
        ordered = [*sent, *rng.sample(sent, k=len(sent) // 5)]
        rng.shuffle(ordered)
        for at, row in enumerate(ordered):
            found[at * commits // len(ordered)].append(row | {"id": f"{world}:{row['id']}"})
    return found


def newest(rows: list[Row], *, partial: bool = False) -> dict[str, Row]:
    """Compute the table from a set of rows, in the names of its columns, without those of places of values."""
    found: dict[str, Row] = {}
    for row in sorted(rows, key=order_of):
        values = {
            **{name: row.get(name) for name in FIELDS if name != "at"},
            "at": row["event_time"],
            **{name: row[column] for name, column in PLACE.items()},
        }
        before = found.get(row["id"], {}) if partial else {}
        found[row["id"]] = {
            name: before.get(name) if value is None else value for name, value in values.items()
        }
    return found


def order_of(row: Row) -> tuple[Any, ...]:
    """Return by what rows of a key are ordered."""
    return (
        row["event_time"],
        row["known_at"],
        row["_source"].encode(),
        row["_source_partition"],
        row["_source_offset"],
    )


def values_of(state: dict[str, Row]) -> dict[str, Row]:
    """Leave out the columns that say where values came from."""
    return {
        key: {name: value for name, value in row.items() if not name.endswith(FROM)}
        for key, row in state.items()
    }


RECORDS = records(120, keys=8, seed=1)
