"""Reading ahead: one thread makes items while the caller works on earlier ones."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_LOOK_S = 0.1


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterable[_Item], *, depth: int) -> Generator[_Item]:
    """Yield `items` in order, up to `depth` of them made before they are asked for.

    What `items` raises is raised here, after the items before it. The thread ends with the caller,
    also one that stops early.
    """
    made: queue.Queue[_Item | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: _Item | _End) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as raised:  # noqa: BLE001  (raised again where it is asked for)
            error = raised
        put(_End(error))

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
