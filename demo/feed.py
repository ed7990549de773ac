"""The demo's second act: a simulated feed, whose truth is known, from its log to ranked items."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo.marks import changes_since, marks
from demo.progress import Progress
from headrace.datasets.lockfile import Lockfile

if TYPE_CHECKING:
    from demo.feed_serve import FeedServed
    from demo.feed_train import Taught


@dataclass(frozen=True, kw_only=True)
class FeedOutcome:
    """What the second act found; `records` counts the rows of its tables of raw records."""

    records: int
    lock: Lockfile
    taught: "Taught"
    served: "FeedServed"
    changed: tuple[str, ...]


def run_feed(folder: Path, progress: Progress, *, impressions: int) -> FeedOutcome:
    """Simulate, ingest, join, train, publish, serve and compare; what is done already stays.

    Args:
        folder: Where the feed's own lake lies.
        progress: Told of each stage.
        impressions: How many to simulate, if the folder is new.

    """
    from demo import feed_lake
    from headrace.api import Lake

    with progress.stage("simulate", "a feed whose click probabilities are known"):
        feed = feed_lake.simulated(folder, impressions=impressions)
    with Lake.open(feed.settings) as lake:
        before = marks(lake)
        with progress.stage("feed", "its streams into tables"):
            records = feed_lake.take_in(lake, feed)
        with progress.stage("feed", "samples of each day, and a dataset version"):
            dataset = feed_lake.join(lake, feed)
        with progress.stage("teach", "a small DLRM, exported as a graph"):
            from demo.feed_train import teach_once

            taught = teach_once(feed.settings, dataset, feed.truth)
        with progress.stage("rank", "200 items for some people, and what was served again"):
            from demo.feed_serve import serve_feed

            served = serve_feed(lake, feed, taught.model)
        changed = [f"feed {name}" for name in changes_since(before, lake)]
    return FeedOutcome(
        records=records,
        lock=dataset.lock,
        taught=taught,
        served=served,
        changed=(*changed, *(["the feed's model"] if taught.trained else [])),
    )
