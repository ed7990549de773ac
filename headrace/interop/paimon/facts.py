"""What a Paimon table says about itself: its options, columns, snapshots, tags and files."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from headrace.clock import time_at


class Changes(StrEnum):
    """Where the changes of a table are read from."""

    APPENDS = "appends"  # a table without a key: the files of each append
    CHANGELOG = "changelog"  # changelog files, with the row before and after
    UPSERTS = "upserts"  # files of each append: the newest row of each key, and deletes


class Kind(StrEnum):
    """What a snapshot did to its table."""

    APPEND = "APPEND"
    COMPACT = "COMPACT"
    OVERWRITE = "OVERWRITE"
    ANALYZE = "ANALYZE"


@dataclass(frozen=True, kw_only=True)
class PaimonSnapshot:
    """One snapshot of a Paimon table.

    `changelog_rows` is None where it wrote no changelog; `is_of_batch` means that a batch committed it, and
    no job that goes on.
    """

    id: int
    kind: str
    committed_at_ms: int
    rows: int
    rows_changed: int
    changelog_rows: int | None
    properties: Mapping[str, str]
    is_of_batch: bool = False

    @property
    def committed_at(self) -> dt.datetime:
        """When it was committed, in UTC, by the clock of its writer."""
        return time_at(self.committed_at_ms)


@dataclass(frozen=True, kw_only=True)
class PaimonDefinition:
    """What the newest schema of a table declares; `types` are Paimon's own, by column.

    `altered` names options that say what files mean, and that said something else when older ones were written.
    """

    name: str
    options: Mapping[str, str]
    keys: tuple[str, ...]
    partition_keys: tuple[str, ...]
    types: Mapping[str, str]
    schema: pa.Schema
    altered: tuple[str, ...] = ()

    def option(self, name: str, default: str) -> str:
        """Return the value of an option, in lower case."""
        return self.options.get(name, default).strip().lower()


@dataclass(frozen=True, kw_only=True)
class PaimonRetention:
    """What a table and its readers say of how long its snapshots stay, besides the lake.

    `age` is how old one gets at least, as the table says it, and `age_ms` the same, None where it is not
    understood; `consumers` maps who registered in the table to the snapshot that it reads next, and
    `changelogs` names the option by which changelogs stay longer than their snapshots.
    """

    age_ms: int | None
    count: int
    consumers: Mapping[str, int]
    age: str = ""
    changelogs: str = ""


@dataclass(frozen=True, kw_only=True)
class PaimonFiles:
    """The live files of one snapshot; `unmerged` are of level 0, which some readers leave out.

    `per_bucket_max` counts the files of the fullest bucket, `unmerged_per_bucket_max` the unmerged ones.
    """

    files: int = 0
    bytes: int = 0
    unmerged: int = 0
    per_bucket_max: int = 0
    unmerged_per_bucket_max: int = 0
