"""The demo's final screen: tables, dataset version, model, one online score, and timings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.facts import DEAD_LETTERS, Judged, Served, TableFacts
from demo.feed import FeedOutcome
from demo.lines import auc_text, line, range_text, value_text
from headrace.datasets.lockfile import Lockfile

_NAMES_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All facts that one run of the demo reports."""

    tables: Sequence[TableFacts]
    labels: Counter[tuple[str, str, int]]
    lock: Lockfile
    lockfile: str
    judged: Judged
    served: Served
    stage_s: Mapping[str, float]
    total_s: float
    changed: Sequence[str]
    feed: FeedOutcome | None = None


def show(console: Console, outcome: Outcome) -> None:
    """Print the screen; fits 100 columns and about 70 lines."""
    console.print()
    console.print(_tables(outcome.tables))
    console.print(line("dead letters", _dead_letters(outcome.tables)))
    for text in _label_lines(outcome.labels):
        console.print(text)
    for text in _dataset_lines(outcome):
        console.print(text)
    for text in _model_lines(outcome.judged):
        console.print(text)
    for text in _serving_lines(outcome.served):
        console.print(text)
    if outcome.feed is not None:
        from demo.feed_screen import feed_lines

        console.print()
        for text in feed_lines(outcome.feed):
            console.print(text)
        console.print()
    console.print(line("time", _times(outcome.stage_s, outcome.total_s)))
    console.print(line("changes", _changes(outcome.changed)))
    console.print(line("next", "`make dagster` shows every run, `make ui` shows the lake"))


def _tables(tables: Sequence[TableFacts]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("table")
    for heading in ("rows", "snapshots", "files written", "files now", "KiB"):
        shown.add_column(heading, justify="right")
    for one in tables:
        if one.table != DEAD_LETTERS:
            counts = (one.rows, one.snapshots, one.files_added, one.files, one.bytes // 1024)
            shown.add_row(one.table, *(f"{count:,}" for count in counts))
    return shown


def _dead_letters(tables: Sequence[TableFacts]) -> str:
    rows = sum(one.rows for one in tables if one.table == DEAD_LETTERS)
    return f"{rows:,} records refused" if rows else "0: every record kept its contract"


def _label_lines(labels: Counter[tuple[str, str, int]]) -> list[str]:
    names = sorted({name for name, _, _ in labels})
    lines: list[str] = []
    for name in names:
        states = sorted({state for found, state, _ in labels if found == name})
        parts: list[str] = []
        for state in states:
            of_state = {v: rows for (n, s, v), rows in labels.items() if (n, s) == (name, state)}
            positive = sum(rows for value, rows in of_state.items() if value)
            parts.append(f"{state} {sum(of_state.values()):,} ({positive:,} positive)")
        lines.append(line(f"label {name}", ", ".join(parts)))
    return lines


def _dataset_lines(outcome: Outcome) -> list[str]:
    lock = outcome.lock
    left_out = "".join(f"; {day} left out, labels pending" for day in lock.left_out)
    return [
        line(
            "dataset",
            f"{lock.name} v{lock.version}: {lock.rows:,} rows, {lock.positives:,} positive, "
            f"{lock.days[0].day} to {lock.days[-1].day}{left_out}",
        ),
        line("content hash", lock.content_hash),
        line("lockfile", _path(outcome.lockfile)),
    ]


def _model_lines(judged: Judged) -> list[str]:
    how = "trained" if judged.trained else "kept (trained on this very content before), was trained"
    return [
        line(
            "model",
            f"{how} on {range_text(judged.train_days)}, "
            f"{judged.train_rows:,} rows, {judged.train_positives:,} clicks",
        ),
        line(
            "judged",
            f"on {range_text(judged.test_days)}, {judged.test.rows:,} rows, "
            f"{judged.test.positives:,} clicks",
        ),
        line("", f"model      AUC {auc_text(judged.test)}   log loss {judged.test.log_loss:.5f}"),
        line("", f"base rate  AUC {auc_text(judged.base)}   log loss {judged.base.log_loss:.5f}"),
    ]


def _serving_lines(served: Served) -> list[str]:
    who = ", ".join(f"{name} {value}" for name, value in served.entities.items())
    lines = [line("online", f"{who}"), line("", f"asked at {served.vector.at:%Y-%m-%d %H:%M:%S}")]
    views = dict.fromkeys(feature.view for feature in served.vector.features)
    for view in views:
        features = [each for each in served.vector.features if each.view == view]
        values = ", ".join(
            f"{each.name} {value_text(each.value)}"
            + ("" if each.status == "fresh" else f" ({each.status.replace('_', ' ')})")
            for each in features
        )
        as_of = features[0].event_time
        when = f"as of {as_of:%m-%d %H:%M}" if as_of else "no row"
        lines.append(line("", f"{view.split('.')[1]:<17} {when}: {values}"))
    lines.append(line("score", f"{served.score:.5f} chance of a click"))
    return lines


def _times(stage_s: Mapping[str, float], total_s: float) -> str:
    parts = [f"{stage} {seconds:.1f}" for stage, seconds in stage_s.items()]
    return f"{', '.join(parts)}; {total_s:.1f} s in all"


def _changes(changed: Sequence[str]) -> str:
    if not changed:
        return "nothing changed: every table, version, model and online value is as it was"
    more = len(changed) - _NAMES_SHOWN
    return ", ".join(changed[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _path(location: str) -> str:
    """Shorten a path below this folder; other locations stay."""
    return location.removeprefix(f"{Path.cwd()}/")
