"""Counts which declared and undeclared fields records have: a misspelt field would stay null unnoticed.

CSV and Parquet files name their columns, so these are known for every record. JSON lines are sampled in
each micro-batch; whether a declared field has any value is known exactly.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Self

from headrace.definitions.properties import FIELD_USE_PROPERTY
from headrace.definitions.stream import Stream
from headrace.ingest.decoding.decoded import UNKNOWN_FIELD, Decoded, did_you_mean
from headrace.ingest.sources.base import Records
from headrace.ingest.values import shown
from headrace.tables.version import TableVersion

NAMES_MAX = 20  # of undeclared fields; a producer may send any number


@dataclass(frozen=True, kw_only=True)
class FieldUse:
    """The fields of some records: those present, and the undeclared ones with the number of records."""

    records: int = 0
    present: frozenset[str] = frozenset()
    undeclared: Mapping[str, int]

    @classmethod
    def none(cls) -> Self:
        """The field use of no record."""
        return cls(undeclared={})

    @classmethod
    def of_columns(cls, names: Iterable[str], stream: Stream, *, records: int) -> Self:
        """The field use of so many records of a file with these columns."""
        present = frozenset(names)
        others = islice((name for name in names if name not in stream.fields), NAMES_MAX)
        return cls(
            records=records,
            present=present & stream.fields.keys(),
            undeclared={name[:80]: records for name in others},
        )

    @classmethod
    def of(cls, records: Records, decoded: Decoded, stream: Stream) -> Self:
        """The field use of one micro-batch."""
        if records.rows is not None:
            return cls.of_columns(records.rows.schema.names, stream, records=records.count)
        if records.header:
            return cls.of_columns(records.header, stream, records=records.count)
        valued = (
            name for name, column in decoded.columns.items() if column.null_count < len(column)
        )
        others = [name for name in decoded.keys if name not in stream.fields]
        return cls(
            records=records.count,
            present=frozenset(stream.fields.keys() & {*valued, *decoded.keys}),
            undeclared={name: decoded.keys[name] for name in others[:NAMES_MAX]},
        )

    @classmethod
    def read(cls, version: TableVersion, stream: Stream) -> Self:
        """Read the field use of all records in a stream's table.

        Rows from before it was recorded may have any field.
        """
        if FIELD_USE_PROPERTY not in version.properties and version.row_count:
            return cls(records=version.row_count, present=frozenset(stream.fields), undeclared={})
        told = json.loads(version.properties.get(FIELD_USE_PROPERTY, "{}"))
        return cls(
            records=told.get("records", 0),
            present=frozenset(told.get("present", ())),
            undeclared=told.get("undeclared", {}),
        )

    def note(self) -> dict[str, str]:
        """Return it as an entry of table properties; its size is bounded."""
        told = {
            "records": self.records,
            "present": sorted(self.present),
            "undeclared": dict(self.undeclared),
        }
        return {FIELD_USE_PROPERTY: json.dumps(told)}

    def __add__(self, other: "FieldUse") -> "FieldUse":
        """Add the field use of other records."""
        counts = Counter(self.undeclared)
        counts.update(other.undeclared)
        return FieldUse(
            records=self.records + other.records,
            present=self.present | other.present,
            undeclared=dict(counts.most_common(NAMES_MAX)),
        )

    def absent(self, stream: Stream) -> tuple[str, ...]:
        """Return the declared fields that no record has; none before the first record.

        One that records had before it was declared is none of them: their rows stay null.
        """
        if not self.records:
            return ()
        had = {*self.present, *self.undeclared}
        return tuple(
            name
            for name, field in stream.fields.items()
            if had.isdisjoint({name, field.source_name or name})
        )

    def unknown(self, stream: Stream) -> dict[str, int]:
        """Return the fields that are not declared now, with the number of records that had them."""
        sources = {field.source_name for field in stream.fields.values()}
        declared = {*stream.fields, *sources}
        return {name: seen for name, seen in self.undeclared.items() if name not in declared}


def refused(use: FieldUse, decoded: Decoded, stream: Stream) -> tuple[str, ...]:
    """Return the undeclared fields of one micro-batch for which the contract refuses its file."""
    if stream.unknown_fields != "refuse":
        return ()
    if stream.format != "json":
        return tuple(use.undeclared)
    found = (each for each in decoded.violations.values() if each.code == UNKNOWN_FIELD)
    return tuple(sorted({each.field for each in found if each.field is not None})[:NAMES_MAX])


def misspelt(names: Iterable[str], stream: Stream) -> dict[str, str]:
    """Return the undeclared fields that are probably misspelt, each with the declared name."""
    near = {name: did_you_mean(name, tuple(stream.fields)) for name in names}
    return {name: meant for name, meant in near.items() if meant}


def named(names: Iterable[str], stream: Stream) -> str:
    """List undeclared fields for a message, each with the declared name it probably means."""
    wanted = tuple(names)
    meant = misspelt(wanted, stream)
    hints = {name: f" (did you mean `{near}`?)" for name, near in meant.items()}
    return ", ".join(shown(name) + hints.get(name, "") for name in wanted)
