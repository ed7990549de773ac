"""Figure: what an event costs by a job of Flink, beside Flink's own sink and `ingest run --follow`; no target.

Each takes the same events from a topic of its own into a table of one lake, on PostgreSQL and S3, with a commit
every 5 s. Flink's own sink is a plain `insert`: Flink's JSON format, no coordinates, no dead letters, nothing that
refuses a value. What is measured is the CPU time of all of Flink's processes, or of the one that follows, from
the moment at which earlier events are committed until all are. What `note` costs is not in it, and shown.
"""

import json
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from benchmarks.flink_servers import (
    command,
    cpu_s,
    flink_pids,
    lake_on,
    rows_of,
    rss_mib,
    wait_for,
)
from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, show
from benchmarks.kafka_topics import FIELDS, Topic, fill, json_event, stream_of
from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.flink.handover import to_flink, to_headrace
from headrace.flink.jobs import StreamJob
from headrace.flink.note import take_note
from headrace.flink.places import places_of
from headrace.flink.session import SESSION
from headrace.flink.statements import create_catalog, named, option_list
from headrace.identifiers import TableName
from headrace.ingest.audit import plan_audit, run_audit
from infra.launcher import kafka
from infra.launcher.cluster import Cluster

EVENTS, BEFORE = 100_000, 50_000
EVERY_S = 5
_SQL_TYPES = {"string": "string", "timestamptz": "timestamp_ltz(6)", "long": "bigint"}


@dataclass(frozen=True, kw_only=True)
class Taking:
    """What takes a topic, while it does."""

    rows: Callable[[], int]
    pids: tuple[int, ...]


def by_headrace_sql(*, folder: str, cluster: str, events: int, before: int) -> Rounds:
    """Take a topic by the job that headrace writes from a contract."""
    with lake_on(Path(cluster), Path(folder)) as lake:
        yield {}
        while True:
            stream = _stream()
            job = StreamJob(lake, stream)
            fill(_servers(cluster), _topic(stream), events=before)
            to_flink(job)
            taking = Taking(
                rows=lambda stream=stream: rows_of(lake, stream.table),
                pids=flink_pids(Cluster(Path(cluster))),
            )
            figures = _taken(taking, stream, cluster, events=events, before=before)
            spent = Spent()
            take_note(lake, stream, complete=False)
            noted_s = spent.figures()["cpu_s"]
            to_headrace(job)
            _refuse_inexact(lake, stream)
            yield {**figures, "note_us": noted_s / (before + events) * 1e6}


def by_plain_sql(*, folder: str, cluster: str, events: int, before: int) -> Rounds:
    """Take a topic by a plain `insert` with Flink's own JSON format."""
    with lake_on(Path(cluster), Path(folder)) as lake:
        yield {}
        while True:
            stream = _stream()
            fill(_servers(cluster), _topic(stream), events=before)
            table = TableName("raw", f"plain_{stream.name}")
            lake.create(table, _plain_schema(stream))
            job = StreamJob(lake, stream)
            properties = {**SESSION, "pipeline.name": f"plain {stream.name}"}
            job_id = job.gateway.submit(_plain_sql(lake, stream, table), properties=properties)
            taking = Taking(
                rows=lambda table=table: rows_of(lake, table),
                pids=flink_pids(Cluster(Path(cluster))),
            )
            figures = _taken(taking, stream, cluster, events=events, before=before)
            job.manager.cancel(job_id)
            _wait_for_end(job, job_id)
            yield {**figures, "note_us": 0.0}


def by_following(*, folder: str, cluster: str, events: int, before: int) -> Rounds:
    """Take a topic by `ingest run --follow`, a process of headrace."""
    with lake_on(Path(cluster), Path(folder)) as lake:
        yield {}
        while True:
            stream = _stream()
            fill(_servers(cluster), _topic(stream), events=before)
            with _followed(cluster, folder, stream) as pid:
                taking = Taking(rows=lambda stream=stream: rows_of(lake, stream.table), pids=(pid,))
                figures = _taken(taking, stream, cluster, events=events, before=before)
            _refuse_inexact(lake, stream)
            yield {**figures, "note_us": 0.0}


def run(*, quick: bool) -> list[Result]:
    """Measure two rounds of each after one that warms up; `quick` takes a tenth of the events once."""
    from tests.flink.servers import flink_servers

    share = 10 if quick else 1
    with flink_servers() as cluster:
        sizes = {
            "cluster": str(cluster.folder),
            "events": EVENTS // share,
            "before": BEFORE // share,
        }
        found = measure(
            [
                Contender(
                    name=each.__name__, module=__name__, function=each.__name__, arguments=sizes
                )
                for each in (by_headrace_sql, by_plain_sql, by_following)
            ],
            rounds=1 if quick else 3,
        )
    warm = found if quick else {name: _without_first(each) for name, each in found.items()}
    return results_of(warm, events=EVENTS // share)


def _without_first(measured: Measured) -> Measured:
    """Leave out the round in which Java compiles what it runs."""
    return replace(measured, rounds=measured.rounds[1:])


def results_of(found: Mapping[str, Measured], *, events: int) -> list[Result]:
    """Compare the contenders, and show them."""
    cost = {name: each.figure("cpu_s") / events * 1e6 for name, each in found.items()}
    show(
        f"{events:,} events from Kafka, a commit every {EVERY_S} s",
        [
            {
                "": name,
                "us CPU an event": cost[name],
                "MiB": max(one.figures["rss_mib"] for one in each.rounds),
                "us of note": each.figure("note_us"),
            }
            for name, each in found.items()
        ],
    )
    ours, plain, follow = (cost[name] for name in found)
    noted = next(iter(found.values())).figure("note_us")
    memory = [max(one.figures["rss_mib"] for one in each.rounds) for each in found.values()]
    about = f"and {noted:.2f} us of `note`; {memory[0]:,.0f} MiB in three processes of Flink"
    return [
        Result(
            claim="flink_ingest",
            value=ours,
            unit=f"us of CPU an event by a job of Flink, {about}",
            peer=f"Flink's own sink without coordinates and dead letters, {plain:.2f} us",
            ratio=ours / plain,
            target="none",
            holds=True,
        ),
        Result(
            claim="flink_ingest_beside_follow",
            value=ours,
            unit=f"us of CPU an event by a job of Flink, {about}",
            peer=f"`ingest run --follow`, {follow:.2f} us, {memory[2]:,.0f} MiB",
            ratio=ours / follow,
            target="none",
            holds=True,
        ),
    ]


def _taken(
    taking: Taking, stream: Stream, cluster: str, *, events: int, before: int
) -> dict[str, float]:
    """Let earlier events be committed, then measure what the others cost."""
    wait_for(lambda: taking.rows() >= before, what="the first commit of all")
    begun_s, spent = cpu_s(*taking.pids), Spent()
    fill(_servers(cluster), _topic(stream), events=events, first=before)
    wait_for(lambda: taking.rows() >= before + events, what="the last commit")
    done_s, wall_s = cpu_s(*taking.pids), spent.figures()["wall_s"]
    if taking.rows() != before + events:
        msg = f"{taking.rows():,} rows of {before + events:,} events"
        raise RuntimeError(msg)
    return {"cpu_s": done_s - begun_s, "wall_s": wall_s, "rss_mib": rss_mib(*taking.pids)}


def _wait_for_end(job: StreamJob, job_id: str) -> None:
    wait_for(
        lambda: job.manager.ask(f"/jobs/{job_id}")["state"] == "CANCELED", what="the job's end"
    )


def _refuse_inexact(lake: Lake, stream: Stream) -> None:
    error = run_audit(lake, plan_audit(lake, stream)).error()
    if error is not None:
        raise error


def _stream() -> Stream:
    number = int(uuid.uuid4().hex[:10], 16)
    return stream_of(Topic(name=f"events_{number}", value=json_event), number=number)


def _topic(stream: Stream) -> Topic:
    return Topic(name=stream.name, value=json_event)  # they have one name


def _servers(cluster: str) -> str:
    return kafka.servers(Cluster(Path(cluster)))


def _plain_schema(stream: Stream) -> pa.Schema:
    schema = stream.table_schema()
    return pa.schema([schema.field(name) for name in _columns(stream)])


def _columns(stream: Stream) -> list[str]:
    return [stream.column_of(name) for name in stream.fields]


def _plain_sql(lake: Lake, stream: Stream, table: TableName) -> tuple[str, ...]:
    places = places_of(lake.settings, stream=stream.name)
    options = {
        "connector": "kafka",
        "topic": _topic(stream).name,
        **places.topic,
        "properties.group.id": f"plain-{stream.name}",
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        "format": "json",
        "json.timestamp-format.standard": "ISO-8601",
    }
    columns = ",\n    ".join(
        f"`{name}` {_SQL_TYPES.get(str(said['type']), said['type'])}"
        for name, said in FIELDS.items()
    )
    names = ", ".join(f"`{name}`" for name in FIELDS)
    into = ", ".join(f"`{name}`" for name in _columns(stream))
    return (
        create_catalog(places.catalog),
        f"create temporary table topic (\n    {columns}\n) with ({option_list(options)})",
        f"insert into {named(str(table))} ({into}) select {names} from topic",
    )


@contextmanager
def _followed(cluster: str, folder: str, stream: Stream) -> Generator[int]:
    """Follow a stream by a process of headrace; yield its id."""
    declared = Path(folder) / "lake" / "streams" / f"{stream.name}.yaml"
    declared.parent.mkdir(exist_ok=True)
    declared.write_text(json.dumps(stream.model_dump(mode="json", exclude_unset=True)))
    arguments = ("ingest", "run", stream.name, "--follow", "--every-s", str(EVERY_S))
    with command(Path(cluster), Path(folder), *arguments) as process:
        yield process.pid
