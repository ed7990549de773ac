"""Claim: events from Kafka cost at most 1.3 times the CPU of a bare loop without any guarantee.

The bare loop polls, parses with `pyarrow.json` and an explicit schema, and writes Parquet with each
record's partition and offset, with the same settings of the garbage collector. headrace checks every
offset and every field, and commits. Beside it the same events as Avro, plain and behind the ids of
schemas, and with one record of poison in a hundred. A real broker runs on the same cores.
"""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, open_lake, show
from benchmarks.kafka_topics import (
    FIELDS,
    PARTITIONS,
    Topic,
    avro_event,
    broker,
    fill,
    framed_event,
    json_event,
    poisoned_event,
    stream_of,
    write_schema,
)

EVENTS = 600_000
RATIO_MAX = 1.3
RATE_MIN = 300_000
FRAMED_RATE_MIN = 150_000
SHARE_MIN = 0.8  # of the rate of clean JSON: Avro's, and that with poison
TOPICS = {
    each.name: each
    for each in (
        Topic(name="json", value=json_event),
        Topic(name="avro", value=avro_event, format="avro"),
        Topic(name="framed", value=framed_event, format="avro", framed=True),
        Topic(name="poison", value=poisoned_event),
    )
}


def bare(*, folder: str, servers: str, events: int, topic: str = "json") -> Rounds:
    """Poll, parse and write; a record that cannot be parsed would end it."""
    import pyarrow as pa
    import pyarrow.json as pa_json
    import pyarrow.parquet as pq
    from confluent_kafka import Consumer, TopicPartition

    from headrace.collector import many_objects

    kinds = {"long": pa.int64(), "int": pa.int32(), "double": pa.float64()}
    schema = pa.schema([(n, kinds.get(str(f["type"]), pa.string())) for n, f in FIELDS.items()])
    whole = pa.schema([*schema, ("partition", pa.int32()), ("offset", pa.int64())])
    yield {}
    for number in range(1_000):
        spent = Spent()
        consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bare",
                "enable.auto.commit": False,
                "queued.min.messages": 1_000_000,
                "fetch.max.bytes": 16 * 1024 * 1024,
                "max.partition.fetch.bytes": 4 * 1024 * 1024,
            }
        )
        consumer.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
        rows = 0
        file = Path(folder) / f"{number}.parquet"
        with many_objects(), pq.ParquetWriter(file, whole, compression="zstd") as out:
            while rows < events:
                found = [each for each in consumer.consume(20_000, 1.0) if not each.error()]
                if not found:
                    continue
                lines = [each.value() or b"" for each in found]
                table = pa_json.read_json(
                    io.BytesIO(b"\n".join(lines)),
                    read_options=pa_json.ReadOptions(use_threads=False, block_size=1 << 26),
                    parse_options=pa_json.ParseOptions(explicit_schema=schema),
                )
                table = table.append_column(
                    "partition", pa.array([each.partition() for each in found], pa.int32())
                ).append_column("offset", pa.array([each.offset() for each in found], pa.int64()))
                out.write_table(table)
                rows += len(found)
        consumer.close()
        yield {**spent.figures(), "rows": rows, "dead_letters": 0}


def headrace(*, folder: str, servers: str, topic: str) -> Rounds:
    """Drain a topic into a table of its own, with every guarantee."""
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.open import open_source
    from headrace.kafka_access import KafkaAccess

    with open_lake(folder) as lake:
        settings = replace(lake.settings, kafka=KafkaAccess(servers=servers))
        write_schema(settings.declarations)
        yield {}
        for number in range(1_000):
            stream = stream_of(TOPICS[topic], number=number)
            spent = Spent()
            done = ingest(lake, stream, source=open_source(stream, settings))
            yield {**spent.figures(), "rows": done.rows, "dead_letters": done.dead_letters}


def run(*, quick: bool = False) -> list[Result]:
    """Measure all on topics of the same events, of a broker that this starts."""
    from infra.launcher import kafka

    events = EVENTS // 20 if quick else EVENTS
    with broker() as cluster:
        servers = kafka.servers(cluster)
        for each in TOPICS.values():
            fill(servers, each, events=events)
        found = measure(contenders(servers, events=events), rounds=1 if quick else 4)
    for name, each in found.items():
        taken = each.figure("rows") + each.figure("dead_letters")
        if taken != events:
            msg = f"`{name}` took {taken} of {events} events"
            raise RuntimeError(msg)
    return results_of(found, events=events)


def contenders(servers: str, *, events: int) -> list[Contender]:
    """Name them: the bare loop, then headrace on each topic."""
    bare_loop = Contender(
        name="bare",
        module=__name__,
        function="bare",
        arguments={"servers": servers, "events": events},
    )
    ours = (
        Contender(
            name=name,
            module=__name__,
            function="headrace",
            arguments={"servers": servers, "topic": name},
        )
        for name in TOPICS
    )
    return [bare_loop, *ours]


def results_of(found: Mapping[str, Measured], *, events: int) -> list[Result]:
    """Compare the contenders, and show them."""
    cost = {name: each.figure("cpu_s") / events * 1e6 for name, each in found.items()}
    rate = {name: events / each.figure("wall_s") for name, each in found.items()}
    show(
        "events from Kafka",
        [
            {
                "": name,
                "us CPU an event": cost[name],
                "events/s": rate[name],
                "dead letters": int(each.figure("dead_letters")),
                "peak MiB": each.peak_rss_mib,
            }
            for name, each in found.items()
        ],
    )
    ratio = cost["json"] / cost["bare"]
    whole = Result(
        claim="kafka_ingest",
        value=cost["json"],
        unit="us of CPU an event",
        peer=f"a bare loop, {cost['bare']:.2f} us",
        ratio=ratio,
        target=f"ratio <= {RATIO_MAX}",
        holds=ratio <= RATIO_MAX,
    )
    clean = f"clean JSON, {rate['json']:,.0f} events/s"
    return [
        whole,
        _rate("kafka_rate", rate, "json", peer="bare", least=RATE_MIN),
        _rate("kafka_avro", rate, "avro", peer="json", least=SHARE_MIN * rate["json"], about=clean),
        _rate("kafka_framed_avro", rate, "framed", peer="json", least=FRAMED_RATE_MIN, about=clean),
        _rate(
            "kafka_poison", rate, "poison", peer="json", least=SHARE_MIN * rate["json"], about=clean
        ),
    ]


def _rate(
    claim: str,
    rate: Mapping[str, float],
    name: str,
    *,
    peer: str,
    least: float,
    about: str = "",
) -> Result:
    return Result(
        claim=claim,
        value=rate[name],
        unit="events/s beside the broker",
        peer=about or f"a bare loop, {rate[peer]:,.0f} events/s",
        ratio=rate[peer] / rate[name],
        target=f">= {least:,.0f} events/s",
        holds=rate[name] >= least,
    )
