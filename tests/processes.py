"""Processes that tests start, so that programs compete, hang and are killed for real.

One process pays for the imports, once for each that runs tests; every other is a fork of it.
"""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "headrace.dml.delete",
        "headrace.dml.merge",
        "headrace.ingest.run",
        "headrace.maintenance.cleanup.cleanup",
        "headrace.maintenance.compaction.compact",
        "headrace.tables.publishing.write_audit_publish",
        "tests.tables.factories",
    ]
)
