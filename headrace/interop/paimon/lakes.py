"""Whose rows a keyed table has: a warehouse may have tables of several lakes, and two may declare one name."""

from headrace.definitions.load import read_streams
from headrace.definitions.properties import TABLE_UUID
from headrace.errors import DefinitionError, PaimonOtherLakeError
from headrace.interop.paimon.facts import PaimonDefinition
from headrace.tables.lake import OpenLake


def refuse_other_lake(found: PaimonDefinition, *, stream_table: str, uuid: str) -> None:
    """Refuse a table that keeps the rows of another one than `stream_table`; pure.

    A table says whose rows it keeps since headrace writes it into its options. One that says nothing may be
    older.

    Args:
        found: The Paimon table.
        stream_table: The table whose rows it should have.
        uuid: Of that table; empty if there is none.

    Raises:
        PaimonOtherLakeError: If it says another one.

    """
    said = found.options.get(TABLE_UUID)
    if said is not None and said != uuid:
        raise PaimonOtherLakeError(found.name, stream_table=stream_table, found=said, expected=uuid)


def refuse_rows_of_another(lake: OpenLake, found: PaimonDefinition) -> None:
    """Refuse to read a table that a stream of this lake declares, and that has the rows of another lake.

    One that no stream declares here may be of whatever lake.

    Raises:
        PaimonOtherLakeError: If it has.
        DefinitionError: If a file of a stream cannot be read, which may declare the table.

    """
    if TABLE_UUID not in found.options:
        return
    read = read_streams(lake.settings)
    if read.broken:
        raise DefinitionError(tuple(text for each in read.broken for text in each.problems))
    for stream in read.valid:
        if stream.keyed_table is not None and str(stream.keyed_table) == found.name:
            head = lake.head_of(stream.table)
            uuid = "" if head is None else str(head.metadata.table_uuid)
            refuse_other_lake(found, stream_table=str(stream.table), uuid=uuid)
