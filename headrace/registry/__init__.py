"""The control database: what each commit did and read, kept after snapshots expire."""

from headrace.registry.databases import error_of, in_memory, name_errors, prepare_sqlite
from headrace.registry.records import (
    Build,
    CommitRecord,
    DatasetRecord,
    Edge,
    LeaseRecord,
    Measure,
    WriteRecord,
)
from headrace.registry.source_ledger import SealedSource
from headrace.registry.store import Registry

__all__ = [
    "Build",
    "CommitRecord",
    "DatasetRecord",
    "Edge",
    "LeaseRecord",
    "Measure",
    "Registry",
    "SealedSource",
    "WriteRecord",
    "error_of",
    "in_memory",
    "name_errors",
    "prepare_sqlite",
]
