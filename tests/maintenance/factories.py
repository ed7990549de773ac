"""States of tables that nobody wrote: numbers as maintenance reads them, only the relevant given."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.iceberg.partitions import PartitionKey, key_to_text
from headrace.identifiers import TableName
from headrace.maintenance.compaction.minor_major import BinSize
from headrace.maintenance.health.layout import DeleteLayout, Layout, PartitionLayout
from headrace.maintenance.health.limits import Limits
from headrace.maintenance.health.manifest_layout import ManifestLayout
from headrace.maintenance.health.state import TableState

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
NOW_MS = round(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000
MIB = 1024 * 1024


def part(
    key: PartitionKey,
    *,
    major: Sequence[BinSize] = (),
    minor: Sequence[BinSize] = (),
    files: int | None = None,
    depth: float = 0.0,
) -> PartitionLayout:
    small = sum(each.files for each in major)
    return PartitionLayout(
        partition=key,
        files=small if files is None else files,
        small_files=small,
        bytes=sum(each.bytes for each in major),
        depth=depth,
        major=tuple(major),
        minor=tuple(minor),
    )


def small_files(files: int, *, bytes: int = MIB, sequence: int = 1) -> BinSize:
    return BinSize(files=files, files_out=1, bytes=bytes, sequence=sequence)


def state(
    name: str = "raw.events",
    *,
    partitions: Sequence[PartitionLayout] = (),
    written: Mapping[PartitionKey, int] | None = None,
    **facts: object,
) -> TableState:
    """A healthy table but for what is given; `written` says how many ms ago partitions were."""
    layout = Layout(
        rows=100,
        files=sum(each.files for each in partitions),
        small_files=sum(each.small_files for each in partitions),
        bytes=sum(each.bytes for each in partitions),
        partitions=tuple(partitions),
        deletes=DeleteLayout(),
        manifests=ManifestLayout(manifests=1, entries=10, bytes=5_000, opened=1, opened_ideal=1),
        has_older_specs=False,
    )
    plain = TableState(
        table=TableName.parse(name),
        snapshot_id=7,
        committed_at_ms=NOW_MS,
        read_at_ms=NOW_MS,
        layout=layout,
        snapshots=10,
        snapshots_kept=100,
        expirable=0,
        expirable_since_ms=0,
        metadata_bytes=20_000,
        limits=Limits(),
        cold_after_s=3_600.0,
        written_ms={key_to_text(key): NOW_MS - ago for key, ago in (written or {}).items()},
        times_ms={},
    )
    return replace(plain, **facts)  # pyright: ignore[reportArgumentType]


def layout_with(found: TableState, **facts: object) -> TableState:
    """The same table with other facts of its files."""
    return replace(found, layout=replace(found.layout, **facts))  # pyright: ignore[reportArgumentType]


def scattered(*, manifests: int = 40, entries: int = 400) -> ManifestLayout:
    """Manifests of which a plan of one partition opens all, where one would do."""
    return ManifestLayout(
        manifests=manifests,
        entries=entries,
        bytes=manifests * 5_000,
        sequence=3,
        opened=manifests,
        opened_ideal=1,
        entries_read=entries,
        entries_read_ideal=entries / manifests,
    )
