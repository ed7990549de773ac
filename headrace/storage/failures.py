"""Whether a read failed because of a file or of its store: only the first says that it is damaged."""

from headrace.errors import CorruptFileError, LakeError, StoreUnavailableError

# how pyarrow's client begins what a store answered, or did not
_OF_S3 = "AWS Error "


class UnansweredError(OSError):
    """A store failed, or refused for a reason that is not one file's."""


_SILENT = (UnansweredError, ConnectionError, TimeoutError, PermissionError)


def unreadable(location: str, error: Exception) -> LakeError:
    """Name what reading a file raised: it is damaged or missing, or its store does not serve it."""
    if is_of_store(location, error):
        return StoreUnavailableError(location, str(error))
    return CorruptFileError(location, str(error) or type(error).__name__)


def is_of_store(location: str, error: Exception) -> bool:
    """Whether a store that is not a local disk did not answer, or refused to."""
    if "://" not in location or location.startswith("file:"):
        return False
    if isinstance(error, FileNotFoundError):
        return False
    return isinstance(error, OSError) and (_OF_S3 in str(error) or isinstance(error, _SILENT))
