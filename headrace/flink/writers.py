"""The schemas that the values of a stream may be written with when its job starts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError
from headrace.ingest.decoding.frames import PLAIN
from headrace.ingest.sources.open import schemas_of
from headrace.ingest.sources.schemas import Schemas, SchemaText
from headrace.ingest.stream_tables import known_schemas
from headrace.tables.version import TableVersion

if TYPE_CHECKING:
    from headrace.ingest.decoding.avro_values import Writer


def writers_of(
    stream: Stream, settings: Settings, *, head: TableVersion | None = None
) -> Mapping[int, "Writer"]:
    """Return the schemas by their ids; that of all values has the id `PLAIN`. JSON has none.

    Args:
        stream: The contract.
        settings: The lake's settings.
        head: The stream's table, which knows the schemas of its rows.

    Raises:
        FlinkCannotError: If a schema cannot be used, or none is known.
        SchemaUnavailableError: If the registry does not answer, or a file cannot be read.
        SchemaChangedError: If there is another schema of an id than rows were written with.

    """
    if stream.format != "avro":
        return {}
    from headrace.ingest.decoding.avro_values import writer_of  # its library is an extra

    schemas = schemas_of(stream, settings) or Schemas(topic=stream.name)
    if not schemas.framed:
        text = SchemaText(text=(schemas.single or b"").decode())
        return {PLAIN: _usable(stream, "its schema", writer_of(text))}
    known = known_schemas(stream, {} if head is None else head.properties)
    schemas.expect(known)
    expected = schemas.store.ids() if schemas.store is not None else ()
    found = {each: schemas.compiled(each, writer_of) for each in sorted({*known, *expected})}
    writers = {
        each: _usable(stream, f"schema {each}", writer)
        for each, writer in found.items()
        if writer is not None
    }
    if not writers:
        raise FlinkCannotError(stream.name, "no schema of its values is registered")
    return writers


def _usable(stream: Stream, what: str, writer: "Writer | str") -> "Writer":
    if isinstance(writer, str):
        raise FlinkCannotError(stream.name, f"{what} cannot be used: {writer}")
    return writer
