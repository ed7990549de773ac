"""What Flink SQL cannot say of a window view; pure."""

from headrace.clock import ONE_DAY, ONE_US
from headrace.definitions.window_rows import WindowRows
from headrace.errors import FlinkCannotViewError

_DAYS_MAX = 999  # the digits that an interval of Flink has


def refuse_view(rows: WindowRows) -> None:
    """Refuse a view whose rows SQL cannot write.

    Raises:
        FlinkCannotViewError: Naming the key of its declaration.

    """
    windows = rows.windows
    longest = max(windows.longest_us + windows.hop_us, windows.lateness_us)
    if longest > _DAYS_MAX * (ONE_DAY // ONE_US):
        what = f"an interval of Flink has at most {_DAYS_MAX} days"
        raise FlinkCannotViewError(windows.view, what, key="aggregates")
