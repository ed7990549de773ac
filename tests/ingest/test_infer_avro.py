"""A contract drafted from a topic of Avro values, by the schemas that its values name."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import DraftError, SettingsError
from headrace.ingest.avro_sampling import avro_sample
from headrace.ingest.draft import Draft, text_of
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_sample import sample_records
from headrace.ingest.sources.schemas import Schemas, SchemaText
from headrace.ingest.topic_sampling import topic_sample
from tests.conftest import ROOT
from tests.ingest.decoding.test_topic_values import TIME_US, avro, framed
from tests.ingest.factories import rows_of
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow

TOPIC = "shop.shown"
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def schema(*more: dict[str, Any]) -> dict[str, Any]:
    fields = [{"name": "shownId", "type": "string"}, {"name": "shownAt", "type": MILLIS}, *more]
    return {"type": "record", "name": "Shown", "namespace": "shop", "fields": fields}


FIRST = schema({"name": "price", "type": ["null", "double"]})
SECOND = schema(
    {"name": "price", "type": ["null", "double"]},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
    {"name": "tags", "type": {"type": "array", "items": "long"}},
    {"name": "sentMs", "type": "long"},
    {"name": "more", "type": {"type": "map", "values": "string"}},
)


def row(at: int, **more: object) -> dict[str, Any]:
    return {"shownId": f"s{at}", "shownAt": TIME_US // 1000 + at, "price": None, **more}


FIRST_VALUES = [framed(1, avro(FIRST, row(at, price=at / 2 if at else None))) for at in range(20)]
SECOND_VALUES = [
    framed(
        2,
        avro(SECOND, row(at, kind="B", tags=[at], sentMs=TIME_US // 1000, more={"a": "b"})),
    )
    for at in range(20, 40)
]


class Known:
    """A store of schemas in memory."""

    def text(self, schema_id: int) -> SchemaText | None:
        found = {1: FIRST, 2: SECOND}.get(schema_id)
        return None if found is None else SchemaText(text=json.dumps(found))

    def ids(self) -> tuple[int, ...]:
        return (1, 2)


def schemas() -> Schemas:
    return Schemas(topic=TOPIC, framed=True, store=Known())


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as made:
        made.create(TOPIC, 2)
        yield made


def drafted(cluster: MockKafka) -> Draft:
    found = sample_records(TOPIC, {"bootstrap.servers": cluster.servers}, records_max=900)
    sample = avro_sample(TOPIC, found, schemas())
    return draft_of(sample, stream="shown", table="raw.shown", files=TOPIC)


def test_every_value_is_a_row_under_the_draft_of_both_schemas(
    lake: Lake, cluster: MockKafka
) -> None:
    cluster.produce(TOPIC, [*FIRST_VALUES, None])
    cluster.produce(TOPIC, SECOND_VALUES, partition=1)
    draft = drafted(cluster)
    assert {name: (each.type, each.required) for name, each in draft.fields.items()} == {
        "shown_id": ("string", True),
        "shown_at": ("timestamptz", True),
        "price": ("double", False),
        "kind": ("string", False),
        "tags": ("list<long>", False),
        "sent_ms": ("long", False),
    }
    assert any("`more` is left out" in each for each in draft.notes)
    stream = Stream.model_validate(yaml.safe_load(text_of(draft)))
    assert (stream.format, stream.event_time, stream.key) == ("avro", "shown_at", "shown_id")
    source = KafkaSource(
        TOPIC,
        {"bootstrap.servers": cluster.servers},
        schemas=schemas(),
        ignore_tombstones=True,
    )
    assert (ingest(lake, stream, source=source).rows, stream.fields["kind"].required) == (40, False)
    found = {each["shown_id"]: each for each in rows_of(lake, stream).to_pylist()}
    assert (found["s20"]["kind"], found["s20"]["tags"], found["s3"]["price"]) == ("B", [20], 1.5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([framed(9, b"\2a")], "schema 9 is not known"),
        ([framed(1, b"\2")], "not of its schema"),
        ([framed(1, FIRST_VALUES[0][5:] + b"x")], "left over"),
    ],
)
def test_values_that_their_schemas_cannot_read_are_refused_by_name(
    cluster: MockKafka, values: Sequence[bytes], said: str
) -> None:
    cluster.produce(TOPIC, values)
    with pytest.raises(DraftError) as refused:
        drafted(cluster)
    assert said in refused.value.detail


def test_without_a_registry_the_setting_is_named(
    cluster: MockKafka, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_SCHEMA_REGISTRY_URL", raising=False)
    cluster.produce(TOPIC, FIRST_VALUES)
    env = {
        "HEADRACE_STATE_DIR": str(lake.settings.state_dir),
        "HEADRACE_KAFKA_SERVERS": cluster.servers,
    }
    settings = Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
    with pytest.raises(SettingsError) as raised:
        topic_sample(TOPIC, settings)
    assert raised.value.setting == "schema_registry_url"
