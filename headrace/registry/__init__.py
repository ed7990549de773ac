"""The control database: commits, builds, dataset versions, leases and running writes, one file each.

Here: records that outlive snapshots, and the migrations of their schema. Not here: what a table holds,
which only its metadata says.
"""

from headrace.registry.databases import (
    address_of,
    error_of,
    in_memory,
    make_schema,
    name_errors,
    open_postgres,
    open_sessions,
    prepare_sqlite,
)
from headrace.registry.migrations import is_registry
from headrace.registry.one_statement import reading
from headrace.registry.records import (
    Build,
    CommitRecord,
    DatasetRecord,
    Edge,
    LeaseRecord,
    Measure,
    WriteRecord,
)
from headrace.registry.registry import Registry
from headrace.registry.server_clock import ServerClock
from headrace.registry.source_ledger import SealedSource

__all__ = [
    "Build",
    "CommitRecord",
    "DatasetRecord",
    "Edge",
    "LeaseRecord",
    "Measure",
    "Registry",
    "SealedSource",
    "ServerClock",
    "WriteRecord",
    "address_of",
    "error_of",
    "in_memory",
    "is_registry",
    "make_schema",
    "name_errors",
    "open_postgres",
    "open_sessions",
    "prepare_sqlite",
    "reading",
]
