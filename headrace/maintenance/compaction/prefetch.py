"""Reading ahead: one thread makes items while the caller works on earlier ones."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


def ahead(
    items: Iterable[_Item], *, weigh: Callable[[_Item], int], weight_max: int
) -> Generator[_Item]:
    """Yield `items` in order; those made before they are asked for weigh up to `weight_max`.

    One may exceed it, however heavy. What `items` raises is raised here, after the items before it.
    The thread ends with the caller, also one that stops early.
    """
    line = _Line[_Item](weight_max)

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not line.put(item, weigh(item)):
                    return
        except BaseException as raised:  # noqa: BLE001  (raised again where it is asked for)
            error = raised
        line.end(error)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield from line.items()
    finally:
        line.stop()
        thread.join()


class _Line(Generic[_Item]):
    """A queue that is full by weight, and that either side may leave."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._made: deque[tuple[_Item, int]] = deque()
        self._weight = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: _Item, weight: int) -> bool:
        """Wait for room and add an item; say whether anybody still wants one."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._weight < self._weight_max)
            if not self._stopped:
                self._made.append((item, weight))
                self._weight += weight
                self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None) -> None:
        """Say that there are no more items, and why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Say that nobody wants more items."""
        with self._changed:
            self._stopped = True
            self._made.clear()
            self._changed.notify_all()

    def items(self) -> Iterator[_Item]:
        """Take the items one by one; raise what the other side ended with."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._made) or self._ended)
                if not self._made:
                    break
                item, weight = self._made.popleft()
                self._weight -= weight
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error
