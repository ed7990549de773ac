"""An id of a schema means one schema for ever: another one stops the stream before a value is misread."""

import copy
import json
from collections.abc import Iterator

import pytest

from headrace.api import Lake
from headrace.errors import SchemaChangedError
from headrace.ingest.run import ingest
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.schemas import Schemas, SchemaText
from headrace.ingest.stream_tables import known_schemas, schemas_note
from tests.ingest.decoding.test_topic_values import AVRO, GOOD, Known, avro, framed, stream_of
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow

# the same bytes, read as another number
OTHER = copy.deepcopy(AVRO)
OTHER["fields"][1]["type"]["logicalType"] = "timestamp-millis"


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as made:
        made.create("things")
        yield made


def source(cluster: MockKafka, **texts: object) -> KafkaSource:
    schemas = Schemas(topic="things", framed=True, store=Known(**texts))
    return KafkaSource("things", {"bootstrap.servers": cluster.servers}, schemas=schemas)


def test_a_registry_that_gives_an_id_another_schema_stops_the_stream(
    lake: Lake, cluster: MockKafka
) -> None:
    """Row 40: each run has a client of its own, so only the table can know what an id meant."""
    stream = stream_of("avro")
    value = framed(7, avro(AVRO, GOOD))
    cluster.produce("things", [value])
    assert ingest(lake, stream, source=source(cluster, _7=AVRO)).rows == 1
    before = lake.table(stream.table).head()
    cluster.produce("things", [value])
    with pytest.raises(SchemaChangedError) as raised:
        ingest(lake, stream, source=source(cluster, _7=OTHER))
    assert raised.value.schema_id == 7
    assert lake.table(stream.table).head().snapshot_id == before.snapshot_id
    # with the right schema again it goes on, beside one that is new
    cluster.produce("things", [framed(8, avro(AVRO, GOOD))])
    assert ingest(lake, stream, source=source(cluster, _7=AVRO, _8=AVRO)).rows == 2
    assert list(known_schemas(stream, lake.table(stream.table).head().properties)) == [7, 8]


def test_a_raised_version_of_the_contract_accepts_another_schema(
    lake: Lake, cluster: MockKafka
) -> None:
    value = framed(7, avro(AVRO, GOOD))
    cluster.produce("things", [value])
    ingest(lake, stream_of("avro"), source=source(cluster, _7=AVRO))
    cluster.produce("things", [value])
    wider = copy.deepcopy(AVRO) | {"doc": "the same, with a comment"}
    done = ingest(lake, stream_of("avro", version=2), source=source(cluster, _7=wider))
    assert done.rows == 1


def test_what_a_schema_refers_to_is_part_of_it() -> None:
    one = SchemaText(text=json.dumps(AVRO), references=("a",))
    assert one.hash != SchemaText(text=json.dumps(AVRO), references=("b",)).hash


def test_the_newest_ids_are_kept() -> None:
    stream = stream_of("avro")
    noted = schemas_note(stream, {each: f"{each:016x}" for each in range(5_000)})
    found = known_schemas(stream, noted)
    assert (len(found), max(found)) == (1_000, 4_999)
