"""The demo's second act on fewer impressions: it learns what was planted, serves it, and repeats nothing."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from demo.feed import FeedOutcome, run_feed
from demo.feed_screen import feed_lines
from demo.feed_serve import CANDIDATES, LATER_PEOPLE, PEOPLE, TOP
from demo.progress import Progress
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
IMPRESSIONS = 40_000


def run(folder: Path) -> FeedOutcome:
    silent = Progress(Console(file=io.StringIO()))
    return run_feed(folder, silent, impressions=IMPRESSIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "feed"


@pytest.fixture(scope="module")
def outcome(folder: Path) -> FeedOutcome:
    return run(folder)


def test_the_model_is_between_the_base_rate_and_the_best_that_there_can_be(
    outcome: FeedOutcome,
) -> None:
    base, found, best = outcome.taught.base, outcome.taught.found, outcome.taught.best
    assert base.auc is not None and found.auc is not None and best.auc is not None
    assert base.auc == 0.5
    assert 0.6 < found.auc < best.auc < 0.8
    assert best.log_loss < found.log_loss < base.log_loss


def test_what_is_asked_for_at_its_time_is_as_in_training_and_later_values_are_stale(
    outcome: FeedOutcome,
) -> None:
    report = outcome.served.skew
    asked = (PEOPLE + LATER_PEOPLE) * CANDIDATES
    assert report.rows >= asked / 2  # a small feed has fewer items
    assert {each.feature for each in report.features} == {
        *("user_sessions_7d", "user_watch_seconds_7d"),
        *(f"item_{name}_{days}" for name in ("shown", "clicks") for days in ("1d", "3d")),
    }
    assert {"staleness"} <= set(outcome.served.causes) <= {"staleness", "missing"}
    moments = {each.at for each in report.examples}
    assert all(each > outcome.served.ranking.at for each in moments)


def test_the_screen_has_metrics_side_by_side_and_the_values_behind_each_score(
    outcome: FeedOutcome,
) -> None:
    text = "\n".join(feed_lines(outcome))
    for name in ("base rate", "model", "best possible"):
        assert f"{name:<13}  AUC 0." in text
    ranking = outcome.served.ranking
    assert len(ranking.scores) == len(ranking.inputs) == TOP
    assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
    for score, inputs in zip(ranking.scores, ranking.inputs, strict=True):
        assert f"item {inputs['item_id']}, {score:.4f} chance of a click" in text
        assert f"item_shown_1d {inputs['item_shown_1d']}" in text
    assert "differ: staleness" in text


def test_the_readme_shows_what_the_screen_says(outcome: FeedOutcome) -> None:
    def forms(lines: Iterable[str]) -> list[str]:  # another size of feed has other numbers
        masked = (re.sub(r" in \w+ ", " in _ ", line) for line in lines)
        return [re.sub(r"\d[\d,.:-]*", "_", line).strip() for line in masked]

    shown = (ROOT / "README.md").read_text().split("```text\n")[2].split("```")[0]
    wanted = [line for line in shown.splitlines() if not line.startswith(" " * 17)]  # no values
    assert len(wanted) > 9
    printed = forms(Text.from_markup(line).plain for line in feed_lines(outcome))
    assert [line for line in forms(wanted) if line not in printed] == []


def test_a_second_run_changes_nothing(folder: Path, outcome: FeedOutcome) -> None:
    again = run(folder)
    assert again.changed == ()
    assert not again.taught.trained
    assert (again.lock, again.served.skew) == (outcome.lock, outcome.served.skew)
    ranked, before = again.served.ranking, outcome.served.ranking
    assert (ranked.scores, ranked.inputs) == (before.scores, before.inputs)
