"""What the embedded store does not do: work that grows with the view where a write is small."""

from pathlib import Path

from headrace.serving.sqlite import SQLiteOnlineStore
from tests.serving.ranked import ITEMS, item

ROWS = 20_000


def test_a_small_put_does_not_count_the_rows_of_the_view(tmp_path: Path) -> None:
    with SQLiteOnlineStore(tmp_path / "online.db") as store:
        store.replace(ITEMS, (item(number) for number in range(ROWS)))
        steps: list[None] = []
        store._connection.set_progress_handler(  # pyright: ignore[reportPrivateUsage]
            lambda: steps.append(None), 1_000
        )
        store.put(ITEMS, [item(number) for number in (1, ROWS, ROWS + 1)])
        store._connection.set_progress_handler(None, 0)  # pyright: ignore[reportPrivateUsage]
        fresh = store.freshness(ITEMS.view)
    assert fresh is not None
    assert fresh.rows == ROWS + 2
    assert len(steps) < 5  # counting takes several steps a row
