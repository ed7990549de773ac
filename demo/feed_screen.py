"""The lines of the demo's screen about its second act."""

from collections.abc import Iterator, Mapping
from typing import Any

from demo.feed import FeedOutcome
from demo.feed_serve import FeedServed
from demo.feed_train import Taught
from demo.lines import auc_text, line, range_text, value_text

_LINE_WIDTH = 84


def feed_lines(outcome: FeedOutcome) -> Iterator[str]:
    """Yield the lines: data, metrics beside the best possible ones, one ranking, and skew."""
    lock = outcome.lock
    version = f"{lock.name} v{lock.version}: {lock.rows:,} samples, {lock.positives:,} clicked"
    yield line("feed", f"{outcome.records:,} simulated records; {version}")
    yield from _metric_lines(outcome.taught)
    yield from _ranking_lines(outcome.served)
    yield from _skew_lines(outcome.served)


def _metric_lines(taught: Taught) -> Iterator[str]:
    how = "trained" if taught.trained else "kept, was trained"
    yield line("", f"{how} on {range_text(taught.train_days)}, {taught.train_rows:,} rows")
    judged = f"on {taught.test_day}, {taught.found.rows:,} rows, {taught.found.positives:,} clicks"
    yield line("judged", judged)
    for name, score in (
        ("base rate", taught.base),
        ("model", taught.found),
        ("best possible", taught.best),
    ):
        yield line("", f"{name:<13}  AUC {auc_text(score)}   log loss {score.log_loss:.5f}")


def _ranking_lines(served: FeedServed) -> Iterator[str]:
    found = served.ranking
    who = f"user {found.context['user_id']} in {found.context['campaign']}"
    asked = f"{found.candidates} items for {who} at {found.at:%m-%d %H:%M}"
    yield line("ranked", f"{asked}, in {found.took_ms:.0f} ms")
    for place, (score, inputs) in enumerate(zip(found.scores, found.inputs, strict=True), 1):
        yield line("", f"{place}. item {inputs['item_id']}, {score:.4f} chance of a click")
        yield from (line("", f"   {text}") for text in _wrapped(inputs))


def _wrapped(inputs: Mapping[str, Any]) -> Iterator[str]:
    said = ""
    for name, value in inputs.items():
        if name == "item_id":
            continue
        part = f"{name} {value_text(value)}"
        if said and len(said) + len(part) > _LINE_WIDTH:
            yield f"{said},"
            said = ""
        said = f"{said}, {part}" if said else part
    yield said


def _skew_lines(served: FeedServed) -> Iterator[str]:
    report = served.skew
    values = sum(sum(each.verdicts.values()) for each in report.features)
    equal = values - report.mismatches
    yield line("skew", f"{values:,} values served, {equal:,} as in training")
    for cause, count in served.causes.most_common():
        yield line("", f"{count:,} differ: {cause}")
