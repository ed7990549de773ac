"""Draws `river.svg`, the picture of the README: `python docs/images/river.py`.

It has no background, and colours for light and for dark pages.
"""

from pathlib import Path

WIDTH, HEIGHT = 1000, 270
STEPS = (
    ("sources", ("files, topics", "any order, any form")),
    ("raw", ("every record once", "or a dead letter")),
    ("staging", ("first of duplicates", "late rows kept")),
    ("features", ("dbt models", "revisions, no overwrites")),
    ("samples", ("joined as known", "at each exposure")),
    ("version", ("pinned, hashed", "reproducible")),
    ("model", ("PyTorch batches", "resumable")),
)
STYLE = """
  text { font: 15px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2933; }
  .name { font-weight: 600; font-size: 16px; }
  .note { font-size: 12.5px; fill: #52606d; }
  .box { fill: #e8f2fb; stroke: #2f6f9f; stroke-width: 1.5; }
  .flow { fill: none; stroke: #2f6f9f; stroke-width: 2.5; }
  .head { fill: #2f6f9f; }
  .under { fill: none; stroke: #7b8794; stroke-width: 1.5; stroke-dasharray: 5 5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb; }
    .note { fill: #9aa5b1; }
    .box { fill: #14303f; stroke: #5aa9d6; }
    .flow { stroke: #5aa9d6; }
    .head { fill: #5aa9d6; }
    .under { stroke: #7b8794; }
  }
"""
TITLE = "From sources to a model and its online features"
TEXT = (
    "Sources flow into raw tables, staging, features, samples and a dataset version, from which a model "
    "is trained. Features also flow into the online store, which serves requests; what was served is "
    "compared with what training sees. Maintenance and the registry serve every table."
)
BOX_WIDTH, BOX_HEIGHT, GAP, TOP, LEFT = 124, 44, 20, 8, 6


def drawn() -> str:
    """Return the picture as SVG."""
    parts = [box(at, *step) for at, step in enumerate(STEPS)]
    parts += [arrow(right_of(at), TOP + 22, left_of(at + 1), TOP + 22) for at in range(6)]
    parts += [online_store(), every_table()]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="t d">\n<title id="t">{TITLE}</title>\n<desc id="d">{TEXT}</desc>\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def left_of(at: int) -> int:
    """Return where a step begins."""
    return LEFT + at * (BOX_WIDTH + GAP)


def right_of(at: int) -> int:
    """Return where a step ends."""
    return left_of(at) + BOX_WIDTH


def box(at: int, name: str, notes: tuple[str, ...], *, top: int = TOP) -> str:
    """Draw a step with what it promises below."""
    middle = left_of(at) + BOX_WIDTH // 2
    place = f'x="{left_of(at)}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
    lines = [
        f'<rect class="box" {place} rx="9"/>',
        f'<text class="name" x="{middle}" y="{top + 28}" text-anchor="middle">{name}</text>',
    ]
    for line, note in enumerate(notes):
        y = top + BOX_HEIGHT + 19 + 16 * line
        lines.append(f'<text class="note" x="{middle}" y="{y}" text-anchor="middle">{note}</text>')
    return "\n".join(lines)


def arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    """Draw an arrow to the right."""
    head = f"{to_x},{to_y} {to_x - 9},{to_y - 5} {to_x - 9},{to_y + 5}"
    return f'<path class="flow" d="M{x} {y}H{to_x - 8}"/>\n<polygon class="head" points="{head}"/>'


def online_store() -> str:
    """Draw the way from features to requests, below."""
    start, top = left_of(3) + BOX_WIDTH // 2, 128
    store, served = 4, 5
    down = f"M{start} {TOP + 88}V{top + 22}"
    return "\n".join(
        (
            f'<path class="flow" d="{down}"/>',
            arrow(start, top + 22, left_of(store), top + 22),
            box(store, "online store", ("the same rule", "as in training"), top=top),
            arrow(right_of(store), top + 22, left_of(served), top + 22),
            box(served, "requests", ("vectors, scores,", "skew with its cause"), top=top),
        )
    )


def every_table() -> str:
    """Draw what serves every table."""
    left, right = left_of(1), right_of(6)
    text = (
        "every table: Iceberg · checked on read · branches and tags · maintenance by gain · lineage"
    )
    return (
        f'<path class="under" d="M{left} 236H{right}"/>\n'
        f'<text class="note" x="{(left + right) // 2}" y="258" text-anchor="middle">{text}</text>'
    )


if __name__ == "__main__":
    Path(__file__).with_name("river.svg").write_text(drawn())
