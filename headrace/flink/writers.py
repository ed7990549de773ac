"""The schemas that the values of a stream may be written with when its job starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError
from headrace.ingest.decoding.frames import PLAIN
from headrace.ingest.sources.open import schemas_of
from headrace.ingest.sources.schemas import Schemas, SchemaText
from headrace.ingest.stream_tables import known_schemas, schemas_note
from headrace.tables.version import TableVersion

if TYPE_CHECKING:
    from headrace.ingest.decoding.avro_values import Writer


@dataclass(frozen=True, kw_only=True)
class Writers:
    """Schemas by their ids; that of all values has the id `PLAIN`. `note` lets the table know their ids."""

    by_id: Mapping[int, "Writer"]
    note: Mapping[str, str]


def writers_of(
    stream: Stream,
    settings: Settings,
    *,
    head: TableVersion | None = None,
    only_known: bool = False,
) -> Writers:
    """Return the schemas of a stream's values; JSON has none.

    Args:
        stream: The contract.
        settings: The lake's settings.
        head: The stream's table, which knows the schemas of its rows, and of the job that writes them.
        only_known: Leave out those that the table does not know, as a job that starts again does.

    Raises:
        FlinkCannotError: If a schema cannot be used, or none is known.
        SchemaUnavailableError: If the registry does not answer, or a file cannot be read.
        SchemaChangedError: If there is another schema of an id than rows were written with.

    """
    if stream.format != "avro":
        return Writers(by_id={}, note={})
    from headrace.ingest.decoding.avro_values import writer_of  # its library is an extra

    schemas = schemas_of(stream, settings) or Schemas(topic=stream.name)
    if not schemas.framed:
        text = SchemaText(text=(schemas.single or b"").decode())
        return Writers(by_id={PLAIN: _usable(stream, "its schema", writer_of(text))}, note={})
    known = known_schemas(stream, {} if head is None else head.properties)
    schemas.expect(known)
    expected: tuple[int, ...] = ()
    if schemas.store is not None and not (known and only_known):
        expected = schemas.store.ids()
    found = {each: schemas.compiled(each, writer_of) for each in sorted({*known, *expected})}
    writers = {
        each: _usable(stream, f"schema {each}", writer)
        for each, writer in found.items()
        if writer is not None
    }
    if not writers:
        raise FlinkCannotError(stream.name, "no schema of its values is registered")
    hashes = {each: schemas.hashes[each] for each in writers}
    return Writers(by_id=writers, note=schemas_note(stream, hashes))


def _usable(stream: Stream, what: str, writer: "Writer | str") -> "Writer":
    if isinstance(writer, str):
        raise FlinkCannotError(stream.name, f"{what} cannot be used: {writer}")
    return writer
