"""Flink keeps the newest row of each key in Paimon, and headrace takes every change of it exactly once."""

import dataclasses
import datetime as dt
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.definitions.load import Declarations
from headrace.definitions.stream import Stream
from headrace.flink.keyed_job import KeyedJob
from headrace.flink.recovery import restore
from headrace.flink.session import SESSION
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.stream_tables import declared
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.take import take_changes
from headrace.standing.jobs import read_jobs
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from infra.launcher import flink
from infra.launcher.cluster import Cluster
from tests.flink.servers import kill, start
from tests.flink.streams import settings_of, until
from tests.interop.warehouses import refuses_repeats, replayed

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Keyed:
    """A stream with a keyed table, and the job that keeps it."""

    lake: Lake
    cluster: Cluster
    stream: Stream

    @property
    def job(self) -> KeyedJob:
        # a JobManager that starts again may have another port
        access = FlinkAccess(
            uri=flink.JobManager().address(self.cluster),
            gateway_uri=flink.Gateway().address(self.cluster),
        )
        return KeyedJob(self.lake, self.stream, access=access)

    def add(self, rows: list[Row]) -> None:
        batches = pa.Table.from_pylist(rows, self.stream.table_schema()).to_batches()
        table = self.lake.table(self.stream.table)
        append(table, write_batches(table, batches), provenance=Provenance())

    def state(self) -> dict[str, tuple[Any, ...]]:
        """Read the Paimon table as headrace merges it."""
        warehouse = PaimonWarehouse.open(self.lake.settings)
        if str(self.stream.table) not in warehouse.names():
            return {}
        table = warehouse.table(str(self.stream.table))
        if not table.snapshots():
            return {}
        rows = [r for b in state_rows(table, table.snapshots()[-1]) for r in b.to_pylist()]
        return {row["id"]: (row["name"], row["note"]) for row in rows}

    def taken(self) -> dict[str, str]:
        """Take every change that was not taken, and apply all of them."""
        table = PaimonWarehouse.open(self.lake.settings).table(str(self.stream.table))
        name = f"{self.stream.table}_taken"
        take_changes(self.lake, table, TableName.parse(name))
        refuses_repeats(self.lake, name)
        return replayed(self.lake, name)


@pytest.fixture
def keyed(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Keyed]:
    settings = dataclasses.replace(
        settings_of(cluster, tmp_path), paimon_warehouse=f"file://{tmp_path / 'paimon'}"
    )
    (tmp_path / "paimon").mkdir()
    name = f"k{uuid.uuid4().hex[:10]}"
    with Lake.open(settings) as lake:
        stream = Stream.model_validate(
            {
                "stream": name,
                "table": f"raw.{name}",
                "source": {"files": "*.jsonl"},
                "format": "json",
                "key": "id",
                "event_time": "at",
                "keyed": request.param,
                "fields": {
                    "id": {"type": "string", "required": True},
                    "at": {"type": "timestamptz", "required": True},
                    "name": {"type": "string"},
                    "note": {"type": "string"},
                },
            }
        )
        declared(lake, stream)
        made = Keyed(lake, cluster, stream)
        yield made
        job = made.job
        for each in job.manager.jobs(name=job.family()):
            if each.is_running:
                job.manager.cancel(each.id)


def rows(count: int, *, first: int, seed: int) -> list[Row]:
    """Return rows of 40 keys, in no order of their times; some times are equal."""
    rng = random.Random(seed)
    return [
        {
            "id": f"u{rng.randrange(40)}",
            "event_time": NOON + dt.timedelta(seconds=rng.randrange(count)),
            "known_at": NOON,
            "name": rng.choice([None, f"n{number}"]),
            "note": rng.choice([None, f"o{number}"]),
            "_source": "made",
            "_source_partition": 0,
            "_source_offset": number,
            "_source_time": None,
        }
        for number in range(first, first + count)
    ]


def newest(sent: list[Row], *, partial: bool) -> dict[str, tuple[Any, ...]]:
    """Compute the table from all rows."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in sorted(sent, key=lambda each: (each["event_time"], each["_source_offset"])):
        before = found.get(row["id"], (None, None))
        now = (row["name"], row["note"])
        kept = tuple(new if new is not None else old for new, old in zip(now, before, strict=True))
        found[row["id"]] = kept if partial else now
    return found


def names(state: dict[str, tuple[Any, ...]]) -> dict[str, str]:
    return {key: name for key, (name, _) in state.items()}


@pytest.mark.parametrize("keyed", ["paimon"], indirect=True)
def test_the_newest_row_of_each_key_is_kept_and_every_change_taken_once(
    keyed: Keyed, cluster: Cluster
) -> None:
    sent = rows(300, first=0, seed=1)
    keyed.add(sent[:100])
    keyed.add(sent[100:150])
    keyed.job.submit()
    before = newest(sent[:150], partial=False)
    until(lambda: keyed.state() == before, seconds=150)
    # the changelog of a row is in the compaction that follows it
    until(lambda: keyed.taken() == names(before), seconds=60)
    declarations = Declarations({keyed.stream.name: keyed.stream}, {}, ())
    (standing,) = read_jobs(keyed.lake, declarations).jobs
    assert (standing.state, standing.trouble) == ("RUNNING", "")
    keyed.add(sent[150:220])
    kill(cluster, "flink_worker")
    keyed.add(sent[220:])
    start(cluster, "flink_worker")
    wanted = newest(sent, partial=False)
    until(lambda: keyed.state() == wanted, seconds=200)
    until(lambda: keyed.taken() == names(wanted), seconds=60)


@pytest.mark.parametrize("keyed", ["paimon"], indirect=True)
def test_a_job_is_restored_also_from_a_checkpoint_whose_rows_were_committed(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        SESSION, "execution.checkpointing.interval", "8 s"
    )  # three of them are kept
    sent = rows(150, first=0, seed=2)
    keyed.add(sent[:50])
    keyed.job.submit()
    until(lambda: keyed.state() == newest(sent[:50], partial=False), seconds=150)
    job = keyed.job
    (job_id,) = job.owner.jobs
    first = job.manager.ask(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]["external_path"]
    keyed.add(sent[50:100])
    until(lambda: keyed.state() == newest(sent[:100], partial=False), seconds=100)
    job.manager.cancel(job_id)
    until(lambda: job.running(job.owner) is None)
    restore(job, checkpoint=first)
    keyed.add(sent[100:])
    wanted = newest(sent, partial=False)
    until(lambda: keyed.state() == wanted, seconds=100)
    until(lambda: keyed.taken() == names(wanted), seconds=60)
    keyed.job.stop()
    restore(keyed.job)
    found = keyed.job.check().health
    assert found is not None
    assert not found.faults


@pytest.mark.parametrize("keyed", [{"merge": "partial-update"}], indirect=True)
def test_each_value_that_is_not_null_counts_in_a_partial_update(keyed: Keyed) -> None:
    sent = rows(150, first=0, seed=1)
    keyed.add(sent[:100])
    keyed.add(sent[100:])
    keyed.job.submit()
    wanted = newest(sent, partial=True)
    assert wanted != newest(sent, partial=False)
    until(lambda: keyed.state() == wanted, seconds=150)
