"""How a published version shows itself: one line in a terminal, a small table in a notebook."""

from headrace.datasets.lockfile import Lockfile
from headrace.shown import facts_html

_HASH_SHOWN = 12


def facts_of(lock: Lockfile) -> dict[str, str]:
    """Return what one wants to know of a version first, as text."""
    return {
        "version": f"{lock.name} v{lock.version}",
        "rows": f"{lock.rows:,}",
        "days": f"{lock.first_day} to {lock.last_day}",
        "table": f"{lock.table} at snapshot {lock.snapshot_id}",
        "content hash": lock.content_hash[:_HASH_SHOWN],
    }


def line_of(lock: Lockfile) -> str:
    """Return the facts on one line."""
    facts = facts_of(lock)
    return f"{facts['version']}, {facts['rows']} rows, {facts['days']}, {facts['content hash']}"


def html_of(lock: Lockfile) -> str:
    """Return the facts as a table in HTML; names are escaped."""
    return facts_html(facts_of(lock))
