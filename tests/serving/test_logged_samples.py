"""Samples from the log of a real store: what was looked up is what is trained on, stale or not."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.ingest.run import ingest
from headrace.samples.audit import leaks
from headrace.samples.build import build
from headrace.serving.server.log import ServingLog
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.vectors import lookup_vectors
from tests.amounts import seed_of_today
from tests.samples.factories import sample_set, settings_in
from tests.serving.conftest import add
from tests.serving.test_skew import LOG, Served, ago, now

pytestmark = pytest.mark.slow
SAID: dict[str, Any] = {**LOG.model_dump(mode="json"), "known_at": "ingested"}
SHOWING = Stream.model_validate(
    SAID | {"fields": {**SAID["fields"], "shown_id": {"type": "string"}}}
)
ITEMS = 30


class Shown(Served):
    """Requests that carry the id under which their items are shown."""

    def __init__(self, lake: Lake, store: SQLiteOnlineStore) -> None:
        super().__init__(lake, store)
        self.log = ServingLog.of(lake.settings, SHOWING, every_s=0.01)
        self.answers: dict[str, object] = {}

    def ask_for(self, items: list[int]) -> None:
        names = [str(len(self.answers) + at) for at in range(len(items))]
        pairs = list(zip(names, items, strict=True))
        entities = [{"item": item, "shown_id": name} for name, item in pairs]
        found = lookup_vectors(self.store, self.set.features, entities)
        self.log.note(self.set.name, entities, found)
        self.answers |= dict(zip(names, found.columns()["rate"], strict=True))
        self.show(dict(pairs))

    def show(self, items: dict[str, int]) -> None:
        rows = [
            {"shown_id": name, "event_time": now(), "item": item, "slot": 0}
            for name, item in items.items()
        ]
        add(self.lake.table(self.set.exposures.table), rows)

    def take_log(self) -> None:
        assert ingest(self.lake, SHOWING).dead_letters == 0

    def samples(self, said: SampleSet) -> dict[str, dict[str, Any]]:
        build(self.lake, said)
        head = self.lake.table(said.table).head()
        assert leaks(head, settings=self.lake.settings).count == 0
        return {row["sample_id"]: row for row in head.to_arrow().to_pylist()}


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    settings = settings_in(tmp_path)
    with Lake.open(settings) as lake, SQLiteOnlineStore(settings.online_store) as store:
        yield Shown(lake, store)


def test_samples_have_what_was_served_and_the_join_where_nothing_was_logged(shown: Shown) -> None:
    draw = random.Random(seed_of_today())
    plain = sample_set(labels=[])
    logged = sample_set(labels=[], logged={"log": "raw.served"}, table="samples.logged")
    for item in range(ITEMS):
        shown.rate(item, draw.random(), happened=ago(draw.uniform(5, 110)))
    shown.publish()
    stale = set(draw.sample(range(ITEMS), 7))
    for item in stale:
        shown.rate(item, 2.0, happened=ago(1))  # in the table, not in the store
    shown.ask_for(list(range(ITEMS)))
    shown.ask_for([draw.randrange(ITEMS + 5) for _ in range(50)])  # some have no row at all
    shown.show({f"unlogged {item}": item for item in range(ITEMS)})
    joined = shown.samples(plain)
    shown.log.close()
    shown.take_log()
    found = shown.samples(logged)
    assert {name: found[name]["rate"] for name in shown.answers} == shown.answers
    assert all(found[name]["rates__logged"] for name in shown.answers)
    differ = {name for name in shown.answers if found[name]["rate"] != joined[name]["rate"]}
    assert differ == {name for name in shown.answers if found[name]["item"] in stale}
    unlogged = [name for name in found if name not in shown.answers]
    assert len(unlogged) == ITEMS
    assert all(found[name]["rate"] == joined[name]["rate"] for name in unlogged)
    assert not any(found[name]["rates__logged"] for name in unlogged)
    take_again(shown)
    assert shown.samples(logged) == found


def take_again(shown: Shown) -> None:
    """Let every line of the log come a second time."""
    folder = shown.lake.settings.data_dir / "served"
    for path in list(folder.glob("*.jsonl")):
        shutil.copy(path, folder / f"again-{path.name}")
    shown.take_log()
