"""One pass over an epoch: an iterator that ends normally only at the end of the epoch."""

from collections.abc import Generator, Iterator

from headrace.errors import EpochBrokenOffError
from headrace.loading.batch import Batch


class Epoch(Iterator[Batch]):
    """The batches of one `iter(loader)`; `StopIteration` always means the end of the epoch.

    After it was stopped, or after an error, it raises `EpochBrokenOffError` instead: a loop would
    take the normal end of a generator for the end of the epoch.
    """

    def __init__(self, batches: Generator[Batch, None, None]) -> None:
        self._batches = batches
        self._is_over = False
        self._broken_off: str | None = None

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            EpochBrokenOffError: If it was stopped, or has raised an error before.

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
        """Stop early and release resources; does nothing after the end of the epoch."""
        self._batches.close()
        if not self._is_over and self._broken_off is None:
            self._broken_off = why
