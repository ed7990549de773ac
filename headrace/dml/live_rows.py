"""The live rows of one data file: those that no position or equality delete file deletes.

Rows to rewrite are read here and not by DuckDB, which does not verify page checksums: a flipped bit
would get a fresh checksum and stay undetected.
"""

from collections.abc import Iterator

import pyarrow as pa

from headrace.tables.version import FileEntry, TableVersion, read_entry


def live_rows(
    version: TableVersion, entry: FileEntry, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Read a file of a version as `wanted`, whose fields carry Iceberg ids; no batch is empty.

    Raises:
        CorruptFileError: If the file or one of its delete files is missing or damaged.

    """
    mapping = version.metadata.name_mapping()
    with version.advising():
        for batch in read_entry(entry, wanted, io=version.io, mapping=mapping):
            if batch.num_rows:
                yield batch
