"""What S3 stores answer and what becomes of it: the errors of files, without secrets."""

from collections.abc import Mapping
from typing import Any

from headrace.storage.failures import UnansweredError

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_DENIED = frozenset(
    {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
_EMPTY_RANGE = "InvalidRange"


class EmptyRangeError(OSError):
    """A range beyond the end of an object, as any range of an empty one is."""


class NamingS3:
    """Turn what botocore raises into the errors of files."""

    def __init__(self, location: str) -> None:
        self._location = location

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate the error, if it is one of the store."""
        if error is None or isinstance(error, OSError):
            return
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        if isinstance(error, ClientError):
            raise _error_of(error.response, f"{error} (`{self._location}`)") from error
        if isinstance(error, HTTPClientError):
            msg = f"the store does not answer: {error}"
            raise TimeoutError(msg) from error
        if isinstance(error, BotoCoreError):
            raise UnansweredError(str(error)) from error


def _error_of(response: Mapping[str, Any], text: str) -> OSError:
    said, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(said.get("Code", "")), int(about.get("HTTPStatusCode", 0))
    if code == _EMPTY_RANGE:
        return EmptyRangeError(text)
    for codes, number, kind in (
        (_ABSENT, 404, FileNotFoundError),
        (_TAKEN, 412, FileExistsError),
        (_DENIED, 403, PermissionError),
    ):
        if code in codes or status == number:
            return kind(text)
    return UnansweredError(text)
