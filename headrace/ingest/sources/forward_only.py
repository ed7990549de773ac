"""A text that can only be read on: to go back is to begin again, and it has no known end."""

import io
from abc import abstractmethod

_READ_BYTES = 1024 * 1024


class ForwardOnly(io.RawIOBase):
    """A file whose content is made while it is read, and whose `readinto` counts what it gave in `_at`."""

    _at = 0

    @abstractmethod
    def _begin(self) -> None:
        """Go back to the beginning, where `_at` is 0."""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, at the price of reading on or again."""
        return True

    def tell(self) -> int:
        """Return how many bytes lie before the next one."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on to an offset, from the beginning if it lies behind.

        Raises:
            io.UnsupportedOperation: If the offset counts from elsewhere than the beginning.

        """
        if whence != io.SEEK_SET:
            msg = "the length of the content is not known"
            raise io.UnsupportedOperation(msg)
        if offset < self._at:
            self._begin()
        while self._at < offset and self.read(min(_READ_BYTES, offset - self._at)):
            pass
        return self._at
