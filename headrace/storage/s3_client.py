"""The S3 API that headrace uses, with bounded retries: botocore behind a few typed calls."""

import contextlib
import datetime as dt
import email.utils
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.storage.folders import Facts
from headrace.storage.s3_connection import S3Options, connected
from headrace.storage.s3_errors import EmptyRangeError, NamingS3

SCHEMES = ("s3", "s3a", "s3n")
# the largest object that one server-side copy may have, by S3's definition
COPY_BYTES_MAX = 5 * 1024**3
_PART_BYTES = 1024**3
_LOCATION = re.compile(r"(?:s3|s3a|s3n)://([^/]+)/*(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Key:
    """An object's bucket and key."""

    bucket: str
    name: str

    @classmethod
    def of(cls, location: str) -> "Key | None":
        """Take a location apart; None if it is not one of S3."""
        found = _LOCATION.fullmatch(location)
        return None if found is None else cls(found[1], found[2])

    @property
    def location(self) -> str:
        """The location, in the one spelling that headrace uses."""
        return f"s3://{self.bucket}/{self.name}" if self.name else f"s3://{self.bucket}"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One page of a listing: objects with their facts, and the prefixes below the folder."""

    files: tuple[tuple[str, Facts], ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object as it is now."""

    facts: Facts
    etag: str


class S3Client:
    """Calls of one store; thread-safe. A process that was forked gets connections of its own.

    Every call is tried again after a 5xx answer, a reset or no answer, `attempts_max` times in all,
    and raises then. What it raises is `FileNotFoundError`, `FileExistsError`, `PermissionError`
    or another `OSError`; no message holds a secret.
    """

    def __init__(self, options: S3Options) -> None:
        self._options = options

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> "S3Client":
        """Return the client for the properties of a catalog or a FileIO."""
        return cls(S3Options.of(properties))

    def head(self, key: Key) -> Found | None:
        """Look at one object; None if it is not there."""
        try:
            said = self._call("head_object", key)
        except FileNotFoundError:
            return None
        return Found(
            facts=_facts(said["ContentLength"], said.get("ETag", ""), said.get("LastModified")),
            etag=said.get("ETag", ""),
        )

    def get(self, key: Key, *, bytes_max: int | None = None) -> bytes:
        """Read an object, or its beginning."""
        if bytes_max is not None and bytes_max <= 0:
            return b""
        only = {} if bytes_max is None else {"Range": f"bytes=0-{bytes_max - 1}"}
        tries = self._options.attempts_max
        while True:
            tries -= 1
            try:
                said = self._call("get_object", key, **only)
                with NamingS3(key.location):  # an answer that breaks off is not tried again for us
                    return bytes(said["Body"].read())
            except EmptyRangeError:
                return b""
            except TimeoutError:
                if tries < 1:
                    raise

    def put(self, key: Key, content: bytes) -> None:
        """Write or replace an object."""
        self._call("put_object", key, Body=content)

    def put_new(self, key: Key, content: bytes) -> None:
        """Write an object where there is none; `FileExistsError` if there is one of other content.

        A put whose answer was lost is tried again and refused because of itself: the content tells.
        """
        try:
            self._call("put_object", key, Body=content, IfNoneMatch="*")
        except FileExistsError:
            found = self.head(key)
            if found is None or found.facts.bytes != len(content) or self.get(key) != content:
                raise

    def delete(self, key: Key) -> None:
        """Delete an object; one that is not there is no error."""
        try:
            self._call("delete_object", key)
        except FileNotFoundError:
            return

    def copy(
        self, source: Key, target: Key, found: Found, *, bytes_max: int = COPY_BYTES_MAX
    ) -> None:
        """Copy an object inside the store, if it still is as it was found; in parts if it is large.

        Look at the copy afterwards: a lost answer may hide that it was not made.
        """
        origin = {"Bucket": source.bucket, "Key": source.name}
        same = {"CopySource": origin, "CopySourceIfMatch": found.etag}
        if found.facts.bytes <= bytes_max:
            try:
                self._call("copy_object", target, **same)
            except FileExistsError as error:
                raise _changed(source) from error
            return
        upload = self._call("create_multipart_upload", target)["UploadId"]
        try:
            parts = [
                self._copy_part(target, upload, number, span, same)
                for number, span in enumerate(
                    _spans(found.facts.bytes, min(bytes_max, _PART_BYTES)), 1
                )
            ]
            with contextlib.suppress(FileNotFoundError):  # it was completed, and the answer lost
                self._call(
                    "complete_multipart_upload",
                    target,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                )
        except FileExistsError as error:
            self.abort(target, upload)
            raise _changed(source) from error
        except BaseException:
            self.abort(target, upload)
            raise

    def _copy_part(
        self, target: Key, upload: str, number: int, span: str, same: Mapping[str, Any]
    ) -> dict[str, Any]:
        said = self._call(
            "upload_part_copy",
            target,
            UploadId=upload,
            PartNumber=number,
            CopySourceRange=span,
            **same,
        )
        return {"PartNumber": number, "ETag": said["CopyPartResult"]["ETag"]}

    def pages(self, folder: Key, *, deep: bool = False) -> Iterator[Listed]:
        """List one level below a folder, or with `deep` all levels, page by page."""
        prefix = f"{folder.name}/" if folder.name else ""
        token: str | None = None
        while True:
            more = {} if token is None else {"ContinuationToken": token}
            more |= {} if deep else {"Delimiter": "/"}
            said = self._call("list_objects_v2", folder, Prefix=prefix, **more)
            yield Listed(
                files=tuple(
                    (
                        Key(folder.bucket, each["Key"]).location,
                        _facts(each["Size"], each.get("ETag", ""), each.get("LastModified")),
                    )
                    for each in said.get("Contents", ())
                    # programs mark folders by empty objects with a slash at the end
                    if not each["Key"].endswith("/")
                ),
                folders=tuple(
                    Key(folder.bucket, each["Prefix"].removesuffix("/")).location
                    for each in said.get("CommonPrefixes", ())
                    # a folder without a name has no location of its own
                    if each["Prefix"] != "/" and not each["Prefix"].endswith("//")
                ),
            )
            before, token = token, said.get("NextContinuationToken")
            if not said.get("IsTruncated") or not token:
                return
            if token == before:
                msg = f"the listing of `{folder.location}` does not advance beyond `{token}`"
                raise OSError(msg)

    def uploads(self, folder: Key) -> Iterator[tuple[str, str, int]]:
        """List unfinished uploads below a folder, at any depth: location, id, and when they began."""
        prefix = f"{folder.name}/" if folder.name else ""
        after: dict[str, str] = {}
        while True:
            said = self._call("list_multipart_uploads", folder, Prefix=prefix, **after)
            for each in said.get("Uploads", ()):
                began_ns = _time_ns(each.get("Initiated"))
                yield Key(folder.bucket, each["Key"]).location, each["UploadId"], began_ns
            more = {
                "KeyMarker": said.get("NextKeyMarker", ""),
                "UploadIdMarker": said.get("NextUploadIdMarker", ""),
            }
            if not said.get("IsTruncated") or more == after:
                return
            after = more

    def abort(self, key: Key, upload_id: str) -> None:
        """Give up an unfinished upload; one that is not there is no error."""
        try:
            self._call("abort_multipart_upload", key, UploadId=upload_id)
        except FileNotFoundError:
            return

    def _call(self, operation: str, key: Key, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        at = {"Bucket": key.bucket}
        if not operation.startswith("list_"):
            at["Key"] = key.name
        call: Callable[..., dict[str, Any]] = getattr(
            connected(self._options, os.getpid()), operation
        )
        with NamingS3(key.location):
            return call(**at, **arguments)


def _changed(source: Key) -> OSError:
    return OSError(f"`{source.location}` changed while it was copied")


def _facts(size: int, etag: str, modified: object) -> Facts:
    # whole seconds: answers about one object have no more, listings may
    modified_ns = _time_ns(modified)
    seen = modified_ns if _is_time(modified) else "unknown"
    return Facts(size, modified_ns, f"{etag.strip(chr(34))}-{size}-{seen}")


def _time_ns(said: object) -> int:
    """Return a time in whole seconds; what has no usable one is as young as can be."""
    if isinstance(said, str):
        said = email.utils.parsedate_to_datetime(said)
    if isinstance(said, dt.datetime) and _is_time(said):
        return int(said.timestamp()) * 10**9
    return time.time_ns()


def _is_time(said: object) -> bool:
    return isinstance(said, dt.datetime) and said.timestamp() > 0


def _spans(size: int, part_bytes: int) -> Iterator[str]:
    for start in range(0, size, part_bytes):
        yield f"bytes={start}-{min(start + part_bytes, size) - 1}"
