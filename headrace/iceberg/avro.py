"""Decode the Avro files of a table: a shared schema is parsed once, a truncated file is an error.

PyIceberg parses the schema of each file again, which takes over 1 ms, more than the few entries of a
manifest, and it reads a file that is truncated within a block as if it ended before that block.
"""

# pyright: reportPrivateUsage=false

import json
from collections.abc import Callable, Iterator
from typing import Any

from pyiceberg.avro.codecs import AVRO_CODEC_KEY
from pyiceberg.avro.codecs.codec import Codec
from pyiceberg.avro.decoder import BinaryDecoder, new_decoder
from pyiceberg.avro.file import AvroFile, AvroFileHeader
from pyiceberg.avro.reader import Reader
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema
from pyiceberg.utils.schema_conversion import AvroSchemaConversion
from zstandard import ZstdError

from headrace.storage.checksums import checking

_SYNC_BYTES = 16


def records(io: FileIO, location: str, reader_of: Callable[[str], Reader]) -> Iterator[Any]:
    """Decode a file block by block, with the reader that `reader_of` returns for its schema text.

    Raises:
        FileNotFoundError: If the file does not exist.
        CorruptFileError: If the file does not match the checksum in its name.
        Exception: Of many kinds, if the file is damaged and has no checksum.

    """
    content, decoder, header = _opened(io, location)
    reader = reader_of(header.meta["avro.schema"])
    # a file that names no codec is uncompressed; pyiceberg looks up an unknown codec instead
    codec = header.compression_codec() if AVRO_CODEC_KEY in header.meta else None
    while decoder.tell() < len(content):
        count, block = decoder.read_int(), decoder.read_bytes()
        mark = decoder.read(_SYNC_BYTES)
        # pyiceberg's decoder may read beyond the end of its input
        if mark != header.sync or decoder.tell() > len(content):
            msg = "the sync marker at the end of a block is wrong"
            raise ValueError(msg)
        plain = _decompressed(block, codec)
        block_decoder = new_decoder(plain)
        for _ in range(count):
            yield reader.read(block_decoder)
        if block_decoder.tell() != len(plain):
            msg = f"the {count} records of a block do not fill it"
            raise ValueError(msg)


def schema_written(io: FileIO, location: str) -> Schema:
    """Read the schema that a file was written with; raises what `records` raises."""
    return schema_of(_opened(io, location)[2].meta["avro.schema"])


def _opened(io: FileIO, location: str) -> tuple[bytes, BinaryDecoder, AvroFileHeader]:
    with checking(io).new_input(location).open() as stream:
        content = stream.read()
    file = AvroFile[Any](io.new_input(location))
    file.decoder = new_decoder(content)
    return content, file.decoder, file._read_header()


def _decompressed(block: bytes, codec: type[Codec] | None) -> bytes:
    try:
        return codec.decompress(block) if codec else block
    except (ZstdError, ImportError) as error:  # the second: snappy is not installed everywhere
        raise ValueError(str(error)) from error


def schema_of(written: str) -> Schema:
    """Parse the text of an Avro schema."""
    return AvroSchemaConversion().avro_to_iceberg(json.loads(written))
