"""PyIceberg's FileIO for S3 as headrace's own lakes use it: patient, shared, and safe after a fork."""

import os
from functools import lru_cache

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties
from typing_extensions import override

from headrace.storage.s3_client import SCHEMES, Key, S3Client
from headrace.storage.s3_connection import S3Options


class S3FileIO(PyArrowFileIO):
    """pyarrow's access to S3, one for all tables of a store in a process.

    PyIceberg's own waits 1 s for a connection and 3 s for an answer, makes a filesystem for each
    look at a table, and an upload in parts of every small file.
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        others, options = self.fs_by_scheme, S3Options.of(self.properties)

        def store_of(scheme: str, netloc: str | None = None) -> FileSystem:
            if scheme.lower() in SCHEMES:
                # threads and connections of a store are not inherited by a forked process
                return _store(options, os.getpid())
            return others(scheme, netloc)

        self.fs_by_scheme = store_of
        self._client = S3Client(options)

    @override
    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete an object; one that is not there is no error.

        One request. pyarrow asks whether it is there, and afterwards for its folder, which it marks
        by an empty object if nothing is left in it.

        Raises:
            OSError: If the store refuses or does not answer.

        """
        where = location if isinstance(location, str) else location.location
        key = Key.of(where)
        if key is None:
            super().delete(location)
        else:
            self._client.delete(key)


@lru_cache(maxsize=16)
def _store(options: S3Options, _process: int) -> S3FileSystem:
    said = {
        "access_key": options.access_key,
        "secret_key": options.secret_key,
        "session_token": options.session_token,
        "region": options.region,
    }
    if options.endpoint is not None:
        scheme, _, host = options.endpoint.partition("://")
        said |= {"endpoint_override": host, "scheme": scheme}
    return S3FileSystem(
        **{name: value for name, value in said.items() if value is not None},
        force_virtual_addressing=options.virtual_addressing,
        connect_timeout=options.connect_timeout_s,
        request_timeout=options.request_timeout_s,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=options.attempts_max),
        allow_delayed_open=True,  # one put for what fits into one part
    )
