"""Serves the feed's model as a process of its own, ranks for some people, and replays what was served."""

import datetime as dt
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.feed_lake import LOG, Feed
from demo.stream import StreamDemoError, ended_well
from headrace.api import Lake
from headrace.definitions.load import load_streams, load_window_views
from headrace.errors import ServerAnswerError
from headrace.identifiers import TableName
from headrace.ingest.run import ingest
from headrace.serving.client import ServingClient
from headrace.serving.open import open_store
from headrace.serving.publish import publish_view
from headrace.serving.publish_windows import publish_windows
from headrace.serving.skew import SkewReport, measure_skew
from headrace.tables.version import TableVersion
from infra.launcher.cluster import Cluster

CANDIDATES, PEOPLE, LATER_PEOPLE = 200, 20, 4
LATER = dt.timedelta(hours=6)
TOP = 3
_STATE_VIEW, _SHOWN = TableName("raw", "user_state"), TableName("raw", "impressions")
_HOUR = dt.timedelta(hours=20)
_START_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The first of the items that were ranked for one person, each with the values of its score."""

    context: Mapping[str, Any]
    at: dt.datetime
    candidates: int
    took_ms: float
    scores: Sequence[float]
    inputs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FeedServed:
    """What the server answered, and how it compares with training."""

    ranking: Ranking
    skew: SkewReport

    @property
    def causes(self) -> Counter[str]:
        """How many served values training does not have, by cause."""
        found = Counter[str]()
        for feature in self.skew.features:
            found.update(feature.causes)
        return found


def serve_feed(lake: Lake, feed: Feed, model: Path) -> FeedServed:
    """Publish the views as of an evening, rank for people then and six hours later, replay the log.

    What is asked later finds values of the evening: nothing was published in between. The log is
    written once.

    Raises:
        StreamDemoError: If the server does not start, or does not end well.
        ServerAnswerError: If it refuses a request.

    """
    shown = lake.table(_SHOWN).head()
    at = _evening(shown)
    _publish(lake, feed, at)
    people, items = _people(shown, at), _items(shown, at)
    stream = load_streams(feed.settings)[LOG]
    asked = (people * 2)[: PEOPLE + LATER_PEOPLE]
    expected = sum(len(items[person["campaign"]]) for person in asked)
    ingest(lake, stream)
    is_logged = lake.table(stream.table).head().row_count >= expected
    with _server(feed, model, log=not is_logged) as client:
        ranking = _rank(client, people[0], items[people[0]["campaign"]], at)
        if not is_logged:
            for number, person in enumerate(asked):
                moment = at if number < PEOPLE else at + LATER
                client.rank(items[person["campaign"]], context=person, at=moment, top=TOP)
    ingest(lake, stream)
    log = lake.table(stream.table).head().to_arrow()
    return FeedServed(ranking=ranking, skew=measure_skew(lake, feed.sample_set, log))


def _evening(shown: TableVersion) -> dt.datetime:
    days: list[Any] = sorted(day for (day,) in shown.partitions if day is not None)
    return dt.datetime.combine(days[-2], dt.time(), dt.UTC) + _HOUR


def _publish(lake: Lake, feed: Feed, at: dt.datetime) -> None:
    with open_store(feed.settings) as store:
        publish_view(lake, store, lake.table(_STATE_VIEW).head(), as_of=at)
        for each in load_window_views(feed.settings).values():
            publish_windows(lake, store, each, lake.table(each.events).head(), as_of=at)


def _people(shown: TableVersion, at: dt.datetime) -> list[dict[str, Any]]:
    """Return those who came first after the moment, as requests describe them."""
    columns = ["event_time", "user_id", "campaign", "affinity_items"]
    rows = shown.to_arrow(columns=columns, partitions=[(at.date(),)]).sort_by("event_time")
    people: dict[int, dict[str, Any]] = {}
    for row in rows.to_pylist():
        moment = row.pop("event_time")
        if moment >= at and len(people) < PEOPLE and row["affinity_items"]:
            people.setdefault(row["user_id"], {**row, "position": 1})
    return list(people.values())


def _items(shown: TableVersion, at: dt.datetime) -> dict[str, list[dict[str, Any]]]:
    """Return the items of each campaign that were shown most on the day before."""
    day = at.date() - dt.timedelta(days=1)
    rows = shown.to_arrow(columns=["campaign", "item_id"], partitions=[(day,)])
    found = rows.group_by(["campaign", "item_id"]).aggregate([([], "count_all")])
    ordered = found.sort_by([("count_all", "descending"), ("item_id", "ascending")]).to_pylist()
    items: dict[str, list[dict[str, Any]]] = {}
    for row in ordered:
        of_campaign = items.setdefault(row["campaign"], [])
        if len(of_campaign) < CANDIDATES:
            of_campaign.append({"item_id": row["item_id"]})
    return items


def _rank(
    client: ServingClient,
    person: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    at: dt.datetime,
) -> Ranking:
    client.rank(items, context=person, at=at)  # the first request opens the connection
    begun = time.perf_counter()
    client.rank(items, context=person, at=at, top=TOP)
    took_ms = (time.perf_counter() - begun) * 1_000
    found = client.rank(items, context=person, at=at, top=TOP, explain=True)
    return Ranking(
        context=person,
        at=at,
        candidates=len(items),
        took_ms=took_ms,
        scores=[each["score"] for each in found["ranked"]],
        inputs=found["inputs"],
    )


@contextmanager
def _server(feed: Feed, model: Path, *, log: bool) -> Generator[ServingClient]:
    """Run `headrace serve` on the feed's lake, on a port of its own."""
    folder = feed.settings.state_dir
    port = Cluster(folder / "ports").port("serve")
    command = [str(Path(sys.executable).with_name("headrace")), "serve", "--port", str(port)]
    command += ["--model", str(model), *(("--log-stream", LOG) if log else ())]
    mine = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    mine["HEADRACE_LAKE"] = str(feed.settings.declarations / "lake.toml")
    with (
        ended_well("serve", command, mine, folder) as process,
        ServingClient(f"http://127.0.0.1:{port}", deadline_s=30) as client,
    ):
        _wait(client, process, folder / "serve.log")
        yield client


def _wait(client: ServingClient, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + _START_S
    while True:
        with suppress(ServerAnswerError):
            if not client.ready():
                return
        if process.poll() is not None or time.monotonic() > until_s:
            msg = "it does not answer"
            raise StreamDemoError(msg, part="serve", log=log)
        time.sleep(0.05)
