"""What Flink SQL cannot say of a window view; pure."""

from headrace.clock import ONE_DAY, ONE_US
from headrace.definitions.window_rows import TAKES, TILES_MAX, WindowRows
from headrace.definitions.windows import Windows
from headrace.errors import FlinkCannotViewError

_DAYS_MAX = 999  # the digits that an interval of Flink has
_WHY = {
    "distinct": "it keeps the least hashes of several values, and SQL has no such aggregate",
    "last": "it keeps several values in the order of their events, and SQL has no such aggregate",
}


def refuse_view(rows: WindowRows) -> None:
    """Refuse a view whose rows SQL cannot write.

    Raises:
        FlinkCannotViewError: Naming the key of its declaration, and the column if it is one.

    """
    windows = rows.windows
    for column in windows.columns:
        take = windows.slots[column.slot].take
        if take not in TAKES:
            what = f"`take: {take}`: {_WHY[take]}"
            raise FlinkCannotViewError(windows.view, what, key="aggregates", column=column.name)
    _refuse_times(windows)


def _refuse_times(windows: Windows) -> None:
    longest = max(windows.longest_us + windows.hop_us, windows.lateness_us)
    if longest > _DAYS_MAX * (ONE_DAY // ONE_US):
        what = f"an interval of Flink has at most {_DAYS_MAX} days"
        raise FlinkCannotViewError(windows.view, what, key="aggregates")
    if windows.longest_us > TILES_MAX * windows.hop_us:
        what = (
            f"the longest window has more than {TILES_MAX:,} tiles, and events are copied to each"
        )
        raise FlinkCannotViewError(windows.view, what, key="hop")
