"""Prefetch: a thread produces items while the caller works on earlier ones."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


def prefetched(
    items: Iterable[_Item], *, weigh: Callable[[_Item], int], weight_max: int
) -> Generator[_Item]:
    """Yield `items` in order, prefetching up to `weight_max` of weight.

    One item may exceed the limit by any amount. An exception from `items` is raised here, after
    the items that preceded it. The thread ends with the generator, also if it is closed early.
    """
    queue = _Queue[_Item](weight_max)

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not queue.put(item, weigh(item)):
                    return
        except BaseException as raised:  # noqa: BLE001  (raised again in the consumer)
            error = raised
        queue.end(error)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield from queue.items()
    finally:
        queue.stop()
        thread.join()


class _Queue(Generic[_Item]):
    """A queue bounded by weight, which either side may close."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._made: deque[tuple[_Item, int]] = deque()
        self._weight = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: _Item, weight: int) -> bool:
        """Wait for room and add an item; return false once the consumer has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._weight < self._weight_max)
            if not self._stopped:
                self._made.append((item, weight))
                self._weight += weight
                self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None) -> None:
        """Mark the end of the items, and the error that ended them, if any."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Tell the producer to stop, and discard queued items."""
        with self._changed:
            self._stopped = True
            self._made.clear()
            self._changed.notify_all()

    def items(self) -> Iterator[_Item]:
        """Yield the items; raise the error that ended the producer, if any.

        Raises:
            BaseException: Whatever the producer raised.

        """
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
