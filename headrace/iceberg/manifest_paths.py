"""Read only the paths from manifests and manifest lists, of any writer.

PyIceberg decodes every statistic of every entry: 45 µs per entry, with the whole manifest in memory.
Clean-up needs the paths of all snapshots of a table; skipping the rest takes 14 µs and no memory.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyiceberg.avro.reader import FixedReader, Reader
from pyiceberg.avro.resolver import ReadSchemaResolver, SchemaPartnerAccessor
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.schema import Schema, visit_with_partner
from pyiceberg.types import (
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    StructType,
)
from pyiceberg.utils.decimal import decimal_required_bytes
from typing_extensions import override

from headrace.iceberg import avro
from headrace.iceberg.avro import schema_of
from headrace.iceberg.manifests import live_files, refuse_lost_files
from headrace.storage.failures import unreadable

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


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One manifest of a manifest list; the count is None if the list does not have it."""

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
    for path, added, existing in _records(io, location, _list_reader):
        yield Listed(path=path, live_files=live_files(added, existing))


def files_in(io: FileIO, manifest: Listed) -> Iterator[Named]:
    """Yield the live files of a manifest.

    Raises:
        FileNotFoundError: If the manifest is gone.
        CorruptFileError: If it cannot be read to its end, or its file count differs from its list.

    """
    live = 0
    for status, (path, size) in _records(io, manifest.path, _entry_reader):
        if status != ManifestEntryStatus.DELETED.value:
            live += 1
            yield Named(path=path, bytes=size)
    refuse_lost_files(manifest.path, found=live, listed=manifest.live_files)


def _records(io: FileIO, location: str, reader_of: Callable[[str], Reader]) -> Iterator[Any]:
    try:
        yield from avro.records(io, location, reader_of)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error) as error:
        raise unreadable(location, error) from error


@lru_cache(maxsize=64)
def _list_reader(written: str) -> Reader:
    return _reader_of(written, _LIST)


@lru_cache(maxsize=64)
def _entry_reader(written: str) -> Reader:
    return _reader_of(written, _ENTRY)


def _reader_of(written: str, wanted: Schema) -> Reader:
    return visit_with_partner(schema_of(written), wanted, _Resolver({}, {}), _Projection())


class _Resolver(ReadSchemaResolver):
    """Skips decimals, which partition values may be, by their width.

    PyIceberg takes their first byte for a length and then reads at a wrong position or beyond the
    end, where the process crashes. Remove this when
    `test_pyiceberg_loses_its_place_after_a_decimal` fails.
    """

    @override
    def visit_decimal(self, decimal_type: DecimalType, partner: IcebergType | None) -> Reader:
        return FixedReader(decimal_required_bytes(decimal_type.precision))


class _Projection(SchemaPartnerAccessor):
    """Skips lists and maps that are not projected, which PyIceberg's own accessor refuses."""

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
