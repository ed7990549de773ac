"""Finds the few feature rows that tie, so that the join need not sort all rows."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa

from headrace.engines.base import Engine
from headrace.identifiers import quote
from headrace.samples.point_in_time import FeatureJoin, key_hash_sql
from headrace.samples.times import Span
from headrace.tables.version import TableVersion

_NONE = np.zeros(0, dtype=np.uint64)


class TiedKeys:
    """Searches each day of a feature table once, however many days of samples read it.

    Rows that tie share their event time, hence their day. Memory: 8 bytes for each row of a day.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._found: dict[tuple[str, dt.date | None], np.ndarray] = {}

    def of(self, join: FeatureJoin, *, version: TableVersion, within: Span) -> pa.Table:
        """Return the hashes `h` of all tied keys of `version` within a span, and possibly others.

        The engine must have bound `version` under its own name.
        """
        if version.partition_by == (f"day({join.event_time})",):
            days = [key[0] for key in version.partitions if isinstance(key[0], dt.date)]
            chunks = [self._of_day(join, version, day) for day in days if within.touches(day)]
        else:
            chunks = [self._of_day(join, version, None)]
        return pa.table({"h": np.concatenate(chunks) if chunks else _NONE})

    def _of_day(self, join: FeatureJoin, version: TableVersion, day: dt.date | None) -> np.ndarray:
        key, dialect = (str(version.name), day), self._engine.dialect
        if key not in self._found:
            relation = version.name.sql
            if day is not None:
                span = Span.of_day(day)
                condition = span.condition_sql(quote(join.event_time), dialect=dialect)
                relation = f"(select * from {relation} where {condition})"
            sql = key_hash_sql(replace(join, relation=relation), dialect=dialect)
            hashes = self._engine.query(sql).read_all()
            sorted_hashes = np.sort(hashes.column("h").to_numpy())
            self._found[key] = np.unique(sorted_hashes[1:][sorted_hashes[1:] == sorted_hashes[:-1]])
        return self._found[key]
