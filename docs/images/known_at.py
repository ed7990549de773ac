"""Draws `known-at.svg`, two times of one value: `python -m docs.images.known_at`."""

from dataclasses import dataclass
from pathlib import Path

from docs.images.river import STYLE

WIDTH, HEIGHT = 760, 430
LEFT, RIGHT, TOP, BOTTOM = 90, 560, 24, 372
FIRST_MIN, LAST_MIN = 8 * 60 + 40, 12 * 60 + 20  # of the day, on both axes
OWN_STYLE = """
  .seen { fill: #2f6f9f; fill-opacity: 0.09; stroke: #2f6f9f; stroke-dasharray: 4 4; }
  .late { fill: #b7791f; }
  .now { fill: none; stroke: #2f6f9f; stroke-width: 2.5; }
  @media (prefers-color-scheme: dark) {
    .seen { fill: #5aa9d6; stroke: #5aa9d6; }
    .late { fill: #ecc94b; }
    .now { stroke: #5aa9d6; }
  }
"""
TITLE = "Event time and known_at of one value, and what two exposures see of it"
TEXT = (
    "Event time runs to the right, known_at upwards. A row of 10:00 was known at 10:05, a row of 11:00 at 11:05, "
    "and a revision of the row of 11:00 at 11:40. The exposure at 11:20 sees the square up to 11:20 on both axes, "
    "with the first row of 11:00; the exposure at 12:00 sees the revision as well, and uses it."
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One revision of the value: its times in minutes of the day, and what to call it."""

    event_min: int
    known_min: int
    name: str
    is_late: bool = False


ROWS = (
    Row(event_min=600, known_min=605, name="10:00, known 10:05"),
    Row(event_min=660, known_min=665, name="11:00, known 11:05"),
    Row(event_min=660, known_min=700, name="revision of 11:00, known 11:40", is_late=True),
)
EXPOSURES_MIN = (11 * 60 + 20, 12 * 60)


def drawn() -> str:
    """Return the picture as SVG."""
    parts = [*map(seen, EXPOSURES_MIN), *axes(), *map(dot, ROWS)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="t d">\n<title id="t">{TITLE}</title>\n<desc id="d">{TEXT}</desc>\n'
        f"<style>{STYLE}{OWN_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def x_of(minute: int) -> int:
    """Return where an event time lies."""
    return LEFT + (minute - FIRST_MIN) * (RIGHT - LEFT) // (LAST_MIN - FIRST_MIN)


def y_of(minute: int) -> int:
    """Return where a `known_at` lies."""
    return BOTTOM - (minute - FIRST_MIN) * (BOTTOM - TOP) // (LAST_MIN - FIRST_MIN)


def clock(minute: int) -> str:
    """Write a minute of the day."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def axes() -> list[str]:
    """Draw both axes with the full hours."""
    lines = [
        f'<path class="flow" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
        f'<text x="{RIGHT}" y="{BOTTOM + 44}" text-anchor="end">event time →</text>',
        f'<text x="{LEFT - 76}" y="{TOP + 4}">known_at ↑</text>',
    ]
    for hour in (10, 11, 12):
        at = hour * 60
        lines += [
            f'<text class="note" x="{x_of(at)}" y="{BOTTOM + 20}" text-anchor="middle">{clock(at)}</text>',
            f'<text class="note" x="{LEFT - 10}" y="{y_of(at) + 4}" text-anchor="end">{clock(at)}</text>',
        ]
    return lines


def seen(at: int) -> str:
    """Draw what an exposure sees: what happened and was known before it."""
    x, y = x_of(at), y_of(at)
    return (
        f'<rect class="seen" x="{LEFT}" y="{y}" width="{x - LEFT}" height="{BOTTOM - y}"/>\n'
        f'<circle class="now" cx="{x}" cy="{y}" r="5"/>\n'
        f'<text x="{x + 12}" y="{y + 5}">exposure at {clock(at)}</text>'
    )


def dot(row: Row) -> str:
    """Draw one row of the table."""
    x, y = x_of(row.event_min), y_of(row.known_min)
    kind = "late" if row.is_late else "head"
    return (
        f'<circle class="{kind}" cx="{x}" cy="{y}" r="6"/>\n'
        f'<text class="note" x="{x - 12}" y="{y + 5}" text-anchor="end">{row.name}</text>'
    )


if __name__ == "__main__":
    Path(__file__).with_name("known-at.svg").write_text(drawn())
