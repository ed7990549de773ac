"""Reads which files manifests and their lists name, and nothing else of them, whoever wrote them.

pyiceberg decodes every statistic of every entry: 45 µs an entry, and the whole manifest in memory.
Clean-up wants paths of all snapshots of a table; passing over the rest takes 14 µs and no memory.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.file import AvroFile, AvroFileHeader
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import ReadSchemaResolver, SchemaPartnerAccessor
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.schema import Schema, visit_with_partner
from pyiceberg.types import IcebergType, IntegerType, LongType, NestedField, StringType, StructType
from pyiceberg.utils.schema_conversion import AvroSchemaConversion
from typing_extensions import override

from headrace.errors import CorruptFileError
from headrace.tables.checksums import checking

_LIST = Schema(
    NestedField(500, "manifest_path", StringType(), required=True),
    NestedField(504, "added_files_count", IntegerType(), required=False),
    NestedField(505, "existing_files_count", IntegerType(), required=False),
)
_ENTRY = Schema(
    NestedField(0, "status", IntegerType(), required=True),
    NestedField(
        2,
        "data_file",
        StructType(
            NestedField(100, "file_path", StringType(), required=True),
            NestedField(104, "file_size_in_bytes", LongType(), required=True),
        ),
        required=True,
    ),
)
_WANTED = {"list": _LIST, "entry": _ENTRY}
_SYNC_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One manifest as its list names it; the count is None if the list does not give it."""

    path: str
    live_files: int | None


@dataclass(frozen=True, kw_only=True)
class Named:
    """One live data or delete file of a manifest."""

    path: str
    bytes: int


def manifests_in(io: FileIO, location: str) -> Iterator[Listed]:
    """Yield the manifests of a manifest list.

    Raises:
        FileNotFoundError: If the list is gone.
        CorruptFileError: If it cannot be read to its end.

    """
    for path, added, existing in _records(io, location, "list"):
        counted = None if added is None or existing is None else added + existing
        yield Listed(path=path, live_files=counted)


def files_in(io: FileIO, manifest: Listed) -> Iterator[Named]:
    """Yield the live files of a manifest.

    Raises:
        FileNotFoundError: If the manifest is gone.
        CorruptFileError: If it cannot be read to its end, or has not as many files as its list says.

    """
    live = 0
    for status, (path, size) in _records(io, manifest.path, "entry"):
        if status != ManifestEntryStatus.DELETED.value:
            live += 1
            yield Named(path=path, bytes=size)
    if manifest.live_files not in (None, live):
        detail = f"it names {live} live files, its manifest list says {manifest.live_files}"
        raise CorruptFileError(manifest.path, detail)


def _records(io: FileIO, location: str, wanted: str) -> Iterator[Any]:
    try:
        yield from _decoded(io, location, wanted)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error) as error:
        raise CorruptFileError(location, str(error) or type(error).__name__) from error


def _decoded(io: FileIO, location: str, wanted: str) -> Iterator[Any]:
    """Decode all blocks; unlike pyiceberg's own loop, a file that was cut short is an error."""
    with checking(io).new_input(location).open() as stream:
        content = stream.read()
    file = AvroFile[Any](io.new_input(location))
    file.decoder = decoder = new_decoder(content)
    header: AvroFileHeader = file._read_header()
    reader = _reader_of(header.meta["avro.schema"], wanted)
    codec = header.compression_codec()
    while decoder.tell() < len(content):
        count, block = decoder.read_int(), decoder.read_bytes()
        if decoder.read(_SYNC_BYTES) != header.sync:
            msg = "the mark at the end of a block is not its own"
            raise ValueError(msg)
        block_decoder = new_decoder(codec.decompress(block) if codec else block)
        for _ in range(count):
            yield reader.read(block_decoder)


@lru_cache(
    maxsize=64
)  # the manifests of one table share their schema, whose text takes 1 ms to read
def _reader_of(written: str, wanted: str) -> Reader:
    schema = AvroSchemaConversion().avro_to_iceberg(json.loads(written))
    return visit_with_partner(schema, _WANTED[wanted], ReadSchemaResolver({}, {}), _Projection())


class _Projection(SchemaPartnerAccessor):
    """Passes over lists and maps nobody asked for, which pyiceberg's own accessor refuses."""

    @override
    def field_partner(
        self, partner: IcebergType | None, field_id: int, field_name: str
    ) -> IcebergType | None:
        return None if partner is None else super().field_partner(partner, field_id, field_name)

    @override
    def list_element_partner(self, partner_list: IcebergType | None) -> IcebergType | None:
        return None if partner_list is None else super().list_element_partner(partner_list)

    @override
    def map_key_partner(self, partner_map: IcebergType | None) -> IcebergType | None:
        return None if partner_map is None else super().map_key_partner(partner_map)

    @override
    def map_value_partner(self, partner_map: IcebergType | None) -> IcebergType | None:
        return None if partner_map is None else super().map_value_partner(partner_map)
