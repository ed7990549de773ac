"""One pass over an epoch: an iterator that never ends as if the epoch were over when it is not."""

from collections.abc import Generator, Iterator

from headrace.errors import EpochBrokenOffError
from headrace.loading.batch import Batch


class Epoch(Iterator[Batch]):
    """The batches of one `iter(loader)`. Ends once, at the end of the epoch.

    After it was stopped, or after an error, asking for more raises `EpochBrokenOffError`: a loop
    would take the plain end of a generator for the end of the epoch.
    """

    def __init__(self, batches: Generator[Batch, None, None]) -> None:
        self._batches = batches
        self._is_over = False
        self._broken_off: str | None = None

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            EpochBrokenOffError: If it was stopped, or raised before.

        """
        if self._broken_off is not None:
            raise EpochBrokenOffError(self._broken_off)
        try:
            return next(self._batches)
        except StopIteration:
            self._is_over = True
            raise
        except BaseException as error:
            self._broken_off = f"it ended with {type(error).__name__}"
            raise

    def stop(self, *, why: str) -> None:
        """End it before its time and release what it holds; of no effect after its end."""
        self._batches.close()
        if not self._is_over and self._broken_off is None:
            self._broken_off = why
