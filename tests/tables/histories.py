"""Tables with a history: commits to branches, streams with offsets, few snapshots."""

from headrace.config import Settings
from headrace.registry import Build
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Commit, Fence, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.factories import events


def write(
    table: LakeTable,
    ids: list[int],
    *,
    branch: str = "main",
    properties: dict[str, str] | None = None,
) -> Commit:
    files = write_batches(table, [events(ids)])
    return operations.append(
        table, files, provenance=Provenance(), branch=branch, properties=properties
    )


def take(table: LakeTable, upto: int, *, watermark: int | None = None) -> Commit:
    """Commit the records of a source up to `upto`, as an ingest does."""
    before = operations.offsets(table.head(), "log")
    fence = Fence(key="log", expected=before, offsets=before | {"part-0": upto})
    files = write_batches(table, [events(range(before.get("part-0", 0), upto))])
    properties = {} if watermark is None else {"headrace.watermark": str(watermark)}
    return operations.append(
        table, files, provenance=Provenance(), fence=fence, properties=properties
    )


def branch_ids(table: LakeTable, branch: str) -> list[int]:
    return sorted(table.head(branch).to_arrow(columns=["id"]).column("id").to_pylist())


def few_snapshots(settings: Settings, kept: int = 3) -> Settings:
    return Settings(**{**settings.__dict__, "snapshots_kept": kept})


def build_of(done: Commit) -> Build:
    return Build(
        table="raw.events",
        partition="p",
        snapshot_id=done.snapshot_id,
        inputs={},
        code="c",
        watermarks={},
    )
