"""The demo: from the raw logs in a wheel to a trained model and an online score, in one command.

Then, in a lake of its own, a simulated feed with known click probabilities, which is served and ranked.

Safe to kill at any moment and to run again; a run that finds everything done changes nothing.
"""

import fcntl
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console

from demo.land import land
from demo.progress import Progress
from headrace.collector import one_command
from headrace.config import Settings
from headrace.errors import LakeError

# Dagster, dbt and torch take seconds to import, so they are imported when they are needed, after the
# first line of output.
if TYPE_CHECKING:
    from demo.feed import FeedOutcome
    from demo.screen import Outcome

SAMPLE_SET = "ctr"
FEED_SIZE = "HEADRACE_FEED_IMPRESSIONS"  # how large the second act is; 0 leaves it out


class DemoRunningError(LakeError):
    """Another demo is running on the same lake."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(f"another `make demo` is running in `{state_dir}`; wait until it ends")


def main() -> int:
    """Run the demo; return the exit status, 0 on success."""
    with one_command():
        return _run_and_show(Console(highlight=False, soft_wrap=True))


def _run_and_show(console: Console) -> int:
    try:
        settings = Settings.load()
        with alone(settings.state_dir):
            outcome = run(settings, Progress(console))
    except LakeError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    from demo.screen import show

    show(console, outcome)
    return 0


def run(settings: Settings, progress: Progress) -> "Outcome":
    """Land the files, materialize the graph, train and serve; return the facts to show."""
    began = perf_counter()
    with progress.running():
        with progress.stage("land", "the logs of the wheel as landing files"):
            landed = land(settings.data_dir)
        with progress.stage("start", "Dagster, dbt and the asset graph"):
            from demo.river import River
            from headrace.api import Lake

            river = River.load(settings)
        with Lake.open(settings) as lake:
            from demo.marks import changes_since, marks
            from headrace.definitions.load import load_sample_sets

            before = marks(lake)
            river.run(progress)
            sample_set = load_sample_sets(settings)[SAMPLE_SET]
            with progress.stage("train", "a click model on the earlier days"):
                from demo import facts
                from demo.screen import Outcome

                dataset, lockfile = facts.newest_dataset(lake, sample_set.name)
                judged = facts.train_once(lake, dataset)
                if judged.trained:
                    river.report_model(dataset.lock, judged)
            with progress.stage("serve", "one feature vector and its score"):
                served = facts.serve_one(lake, sample_set, judged.model)
            changed = changes_since(before, lake)
            feed = _second_act(settings, progress)
            return Outcome(
                feed=feed,
                tables=facts.table_facts(lake),
                labels=facts.label_counts(lake, sample_set),
                lock=dataset.lock,
                lockfile=lockfile,
                judged=judged,
                served=served,
                stage_s=progress.stage_s,
                total_s=perf_counter() - began,
                changed=[
                    *([f"{landed.written} landing files"] if landed.written else []),
                    *changed,
                    *(["the model"] if judged.trained else []),
                    *(() if feed is None else feed.changed),
                ],
            )


def _second_act(settings: Settings, progress: Progress) -> "FeedOutcome | None":
    from demo.feed import run_feed
    from demo.feed_lake import IMPRESSIONS

    impressions = int(os.environ.get(FEED_SIZE, IMPRESSIONS))
    if not impressions:
        return None
    return run_feed(settings.state_dir / "feed", progress, impressions=impressions)


@contextmanager
def alone(state_dir: Path) -> Generator[None]:
    """Hold the demo's lock; the system releases it when the process ends for any reason."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "demo.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoRunningError(state_dir) from None
        yield


if __name__ == "__main__":
    sys.exit(main())
