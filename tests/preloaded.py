"""What the processes that tests start have loaded: imported once, by the process that they are forks of.

The collector of garbage finds none in imports, and would look for it for a quarter of their time. What
they made is then declared permanent: a fork that collects would have all of it copied.
"""

import gc
from importlib import import_module

_MODULES = (
    "headrace.datasets.publish",
    "headrace.dml.delete",
    "headrace.dml.merge",
    "headrace.ingest.run",
    "headrace.maintenance.cleanup.cleanup",
    "headrace.maintenance.compaction.compact",
    "headrace.samples.build",
    "headrace.serving.publish",
    "headrace.tables.publishing.write_audit_publish",
    "hypothesis.stateful",
    "pytest",
    "tests.conftest",
    "tests.proofs.test_interleaving",
)

gc.disable()
try:
    for _name in _MODULES:
        import_module(_name)
finally:
    gc.freeze()
    gc.enable()
