"""Which declared fields records have, and which other ones: a misspelt field is null for ever otherwise.

CSV and Parquet files name their columns, so they are known for every record. Of JSON lines a sample of
each micro-batch is looked at; whether a declared field has a value is known for all.
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

NAMES_MAX = 20  # of undeclared fields; a producer may invent any number


@dataclass(frozen=True, kw_only=True)
class FieldUse:
    """What is known of the fields of some records: present ones, and undeclared ones by records seen."""

    records: int = 0
    present: frozenset[str] = frozenset()
    undeclared: Mapping[str, int]

    @classmethod
    def none(cls) -> Self:
        """What is known before the first record."""
        return cls(undeclared={})

    @classmethod
    def of_columns(cls, names: Iterable[str], stream: Stream, *, records: int) -> Self:
        """What the columns of a file tell of so many of its records."""
        present = frozenset(names)
        others = islice((name for name in names if name not in stream.fields), NAMES_MAX)
        return cls(
            records=records,
            present=present & stream.fields.keys(),
            undeclared={name[:80]: records for name in others},
        )

    @classmethod
    def of(cls, records: Records, decoded: Decoded, stream: Stream) -> Self:
        """What one micro-batch tells."""
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
        """Read what a stream's table says about all records it took.

        Of rows from before anything was noted nothing is known: any field may be in them.
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
        """Write it as an entry of a table's properties; its size is bounded."""
        told = {
            "records": self.records,
            "present": sorted(self.present),
            "undeclared": dict(self.undeclared),
        }
        return {FIELD_USE_PROPERTY: json.dumps(told)}

    def __add__(self, other: "FieldUse") -> "FieldUse":
        """Put together what is known of other records."""
        counts = Counter(self.undeclared)
        counts.update(other.undeclared)
        return FieldUse(
            records=self.records + other.records,
            present=self.present | other.present,
            undeclared=dict(counts.most_common(NAMES_MAX)),
        )

    def absent(self, stream: Stream) -> tuple[str, ...]:
        """Name the declared fields that no record has; none before the first record."""
        return tuple(name for name in stream.fields if self.records and name not in self.present)

    def unknown(self, stream: Stream) -> dict[str, int]:
        """Name the fields that are not declared now, with the records they were seen in."""
        return {name: seen for name, seen in self.undeclared.items() if name not in stream.fields}


def refused(use: FieldUse, decoded: Decoded, stream: Stream) -> tuple[str, ...]:
    """Name the undeclared fields of one micro-batch that its contract refuses files for."""
    if stream.unknown_fields != "refuse":
        return ()
    if stream.format != "json":
        return tuple(use.undeclared)
    found = (each for each in decoded.violations.values() if each.code == UNKNOWN_FIELD)
    return tuple(sorted({each.field for each in found if each.field is not None})[:NAMES_MAX])


def misspelt(names: Iterable[str], stream: Stream) -> dict[str, str]:
    """Tell which undeclared fields may be meant to be declared ones, and which."""
    near = {name: did_you_mean(name, tuple(stream.fields)) for name in names}
    return {name: meant for name, meant in near.items() if meant}


def named(names: Iterable[str], stream: Stream) -> str:
    """List undeclared fields for a message, each with the declared one it may be meant to be."""
    wanted = tuple(names)
    meant = misspelt(wanted, stream)
    hints = {name: f" (did you mean `{near}`?)" for name, near in meant.items()}
    return ", ".join(shown(name) + hints.get(name, "") for name in wanted)
