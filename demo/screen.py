"""The demo's final screen: tables, dataset version, model, one online score, and timings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.facts import DEAD_LETTERS, Judged, Served, TableFacts
from demo.train import Score
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


def show(console: Console, outcome: Outcome) -> None:
    """Print the screen; fits 100 columns and about 50 lines."""
    console.print()
    console.print(_tables(outcome.tables))
    console.print(_line("dead letters", _dead_letters(outcome.tables)))
    for text in _label_lines(outcome.labels):
        console.print(text)
    for text in _dataset_lines(outcome):
        console.print(text)
    for text in _model_lines(outcome.judged):
        console.print(text)
    for text in _serving_lines(outcome.served):
        console.print(text)
    console.print(_line("time", _times(outcome.stage_s, outcome.total_s)))
    console.print(_line("changes", _changes(outcome.changed)))
    console.print(_line("next", "`make dagster` shows every run, `make ui` shows the lake"))


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


def _line(name: str, text: str) -> str:
    return f"[bold]{name:<13}[/bold] {text}"


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
        lines.append(_line(f"label {name}", ", ".join(parts)))
    return lines


def _dataset_lines(outcome: Outcome) -> list[str]:
    lock = outcome.lock
    left_out = "".join(f"; {day} left out, labels pending" for day in lock.left_out)
    return [
        _line(
            "dataset",
            f"{lock.name} v{lock.version}: {lock.rows:,} rows, {lock.positives:,} positive, "
            f"{lock.days[0].day} to {lock.days[-1].day}{left_out}",
        ),
        _line("content hash", lock.content_hash),
        _line("lockfile", _path(outcome.lockfile)),
    ]


def _model_lines(judged: Judged) -> list[str]:
    how = "trained" if judged.trained else "kept (trained on this very content before), was trained"
    return [
        _line(
            "model",
            f"{how} on {_range(judged.train_days)}, "
            f"{judged.train_rows:,} rows, {judged.train_positives:,} clicks",
        ),
        _line(
            "judged",
            f"on {_range(judged.test_days)}, {judged.test.rows:,} rows, "
            f"{judged.test.positives:,} clicks",
        ),
        _line("", f"model      AUC {_auc(judged.test)}   log loss {judged.test.log_loss:.5f}"),
        _line("", f"base rate  AUC {_auc(judged.base)}   log loss {judged.base.log_loss:.5f}"),
    ]


def _serving_lines(served: Served) -> list[str]:
    who = ", ".join(f"{name} {value}" for name, value in served.entities.items())
    lines = [_line("online", f"{who}"), _line("", f"asked at {served.vector.at:%Y-%m-%d %H:%M:%S}")]
    views = dict.fromkeys(feature.view for feature in served.vector.features)
    for view in views:
        features = [each for each in served.vector.features if each.view == view]
        values = ", ".join(
            f"{each.name} {_value(each.value)}"
            + ("" if each.status == "fresh" else f" ({each.status.replace('_', ' ')})")
            for each in features
        )
        as_of = features[0].event_time
        when = f"as of {as_of:%m-%d %H:%M}" if as_of else "no row"
        lines.append(_line("", f"{view.split('.')[1]:<17} {when}: {values}"))
    lines.append(_line("score", f"{served.score:.5f} chance of a click"))
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


def _range(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _auc(found: Score) -> str:
    return "n/a  " if found.auc is None else f"{found.auc:.3f}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"{text[:8]}…" if len(text) > 9 else text
