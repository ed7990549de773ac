"""A contract drafted from a topic takes every record that the sample has, through the real client."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import DraftError, TopicNotFoundError
from headrace.ingest.difference import Difference, lines_of
from headrace.ingest.draft import Draft, text_of
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sources.kafka import KafkaSource
from headrace.ingest.sources.kafka_sample import sample_records
from headrace.ingest.sources.schemas import Schemas
from headrace.ingest.topic_difference import topic_difference
from headrace.ingest.topic_sampling import sample_of_records, topic_sample
from headrace.kafka_access import KafkaAccess
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow

TOPIC = "shop.shown"


def value(at: int, **more: object) -> bytes:
    said = {"shownId": f"s{at}", "shown_at": f"2026-03-01T10:00:{at % 60:02d}Z", "n": at}
    return json.dumps(said | more).encode()


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as made:
        made.create(TOPIC, 3)
        yield made


def drafted(cluster: MockKafka, *, records_max: int = 900) -> Draft:
    found = sample_records(TOPIC, {"bootstrap.servers": cluster.servers}, records_max=records_max)
    sample = sample_of_records(TOPIC, found)
    return draft_of(sample, stream="shown", table="raw.shown", files=TOPIC)


def taken(lake: Lake, cluster: MockKafka, draft: Draft, *, framed: bool = False) -> tuple[int, int]:
    stream = Stream.model_validate(yaml.safe_load(text_of(draft)))
    source = KafkaSource(
        TOPIC,
        {"bootstrap.servers": cluster.servers},
        schemas=Schemas(topic=TOPIC, framed=True) if framed else None,
        ignore_tombstones=bool(draft.topic and draft.topic.get("tombstones") == "ignore"),
    )
    done = ingest(lake, stream, source=source)
    return done.rows, done.dead_letters


def test_every_record_of_a_topic_is_a_row_under_its_draft(lake: Lake, cluster: MockKafka) -> None:
    for partition in range(2):  # and one is empty
        cluster.produce(TOPIC, [value(at) for at in range(50)], partition=partition)
    draft = drafted(cluster)
    assert {name: each.type for name, each in draft.fields.items()} == {
        "shown_id": "string",
        "shown_at": "timestamptz",
        "n": "long",
    }
    assert (draft.event_time, draft.topic) == ("shown_at", {"topic": TOPIC})
    assert Stream.model_validate(draft.declared()).known_at.ingested
    assert taken(lake, cluster, draft) == (100, 0)


def test_the_beginning_the_middle_and_the_end_count(lake: Lake, cluster: MockKafka) -> None:
    """A field whose type changes, one that comes late, and one that is missing in the middle."""
    lines = [value(at) for at in range(1_000)]
    lines[0] = value(0, first=1)
    lines[500] = value(500, n="none", first=2)
    lines[999] = value(999, last=[1, 2])
    cluster.produce(TOPIC, lines)
    draft = drafted(cluster, records_max=300)
    types = {name: each.type for name, each in draft.fields.items()}
    assert types == {
        "shown_id": "string",
        "shown_at": "timestamptz",
        "first": "long",
        "last": "list<long>",
    }  # `n` is of two types, seen in the middle
    assert taken(lake, cluster, draft) == (1_000, 0)


def test_frames_and_tombstones_are_declared_as_guesses(lake: Lake, cluster: MockKafka) -> None:
    framed = [b"\0\0\0\0\7" + value(at) for at in range(20)]
    cluster.produce(TOPIC, [*framed, None, None])
    draft = drafted(cluster)
    assert draft.topic == {"topic": TOPIC, "framing": "registry", "tombstones": "ignore"}
    assert len(draft.notes) >= 2
    assert taken(lake, cluster, draft, framed=True) == (20, 0)


@pytest.mark.parametrize(
    "values", [[], [None], [b"\2a\4"], [value(1), b"plain"], [b'{"shown_at": '], [b'{"n": 1}']]
)
def test_values_that_no_draft_can_take_are_refused_by_name(
    cluster: MockKafka, values: Sequence[bytes | None]
) -> None:
    cluster.produce(TOPIC, values)
    with pytest.raises(DraftError) as raised:
        drafted(cluster)
    assert raised.value.path == TOPIC


def test_the_command_drafts_a_topic_where_no_file_matches(
    lake: Lake, cluster: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.produce(TOPIC, [value(at) for at in range(5)])
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_KAFKA_SERVERS", cluster.servers)
    run = CliRunner().invoke(make_app(), ["streams", "infer", TOPIC, "--name", "shown"])
    assert run.exit_code == 0, run.output
    assert yaml.safe_load(run.output)["source"] == {"kafka": {"topic": TOPIC}}
    with pytest.raises(TopicNotFoundError):
        topic_sample("nothing", Settings.load())
    neither = CliRunner().invoke(make_app(), ["streams", "infer", "nothing"])
    assert neither.exit_code == 1
    assert "matches, and there is no such topic at" in neither.output
    monkeypatch.delenv("HEADRACE_KAFKA_SERVERS")
    without = CliRunner().invoke(make_app(), ["streams", "infer", TOPIC])
    assert without.exit_code == 1


def test_the_difference_of_a_contract_to_its_topic_names_records_and_fields(
    lake: Lake, cluster: MockKafka
) -> None:
    cluster.produce(TOPIC, [value(at) for at in range(20)])
    stream = Stream.model_validate(yaml.safe_load(text_of(drafted(cluster))))
    access = KafkaAccess(servers=cluster.servers)
    settings = replace(lake.settings, kafka=access)
    cluster.produce(TOPIC, [value(1, n="seven"), b"{", value(2, more=1), None], partition=1)
    found = topic_difference(settings, stream)
    assert found is not None
    assert (found.topic, found.records, found.undeclared) == (TOPIC, 24, {"more": 1})
    assert sorted((each.code, each.field, each.count) for each in found.refused if each.field) == [
        ("wrong_type", "n", 1)
    ]
    assert {each.code for each in found.refused} == {"wrong_type", "malformed", "tombstone"}
    assert not lake.exists(stream.table)
    cluster.close()
    without = topic_difference(settings, stream)
    assert without is not None
    assert without.records == 0
    assert without.unreachable.startswith(f"topic `{TOPIC}` cannot be reached")
    assert list(lines_of(replace(_NOTHING, topic=found)))[:1] == [
        "3 of 24 sampled records of the topic would be refused"
    ]
    assert list(lines_of(replace(_NOTHING, topic=without))) == [without.unreachable]


_NOTHING = Difference(
    stream="shown", table="raw.shown", snapshot_id=None, columns=(), rows=0, refused_rows=(),
    letters=0, refused_letters=(),
)  # fmt: skip
