"""How the demo's screen writes a line, a range of days, a metric and a value."""

from collections.abc import Sequence

from demo.train import Score


def line(name: str, text: str) -> str:
    """Return a line of the screen; those that go on have no name."""
    return f"[bold]{name:<13}[/bold] {text}"


def range_text(days: Sequence[str]) -> str:
    """Return the first and the last day."""
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def auc_text(found: Score) -> str:
    """Return an AUC; it has none where a class is missing."""
    return "n/a  " if found.auc is None else f"{found.auc:.3f}"


def value_text(value: object) -> str:
    """Return a value of a feature, shortened."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    text = str(value)
    return f"{text[:8]}…" if len(text) > 9 else text
