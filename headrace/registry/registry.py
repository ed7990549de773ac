"""The registry as other rooms see it: one database, opened at its newest schema version."""

import sqlalchemy as sa

from headrace.registry.builds import Builds
from headrace.registry.commits import Commits
from headrace.registry.databases import open_engine
from headrace.registry.datasets import DatasetVersions
from headrace.registry.heartbeat import Heartbeat
from headrace.registry.leases import Leases
from headrace.registry.measures import Measures
from headrace.registry.migrations import migrate
from headrace.registry.server_clock import ServerClock
from headrace.registry.source_ledger import SourceLedger
from headrace.registry.writes import Writes


class Registry(Commits, Builds, Measures, DatasetVersions, Leases, Writes):
    """Lineage, builds, versions and running writes in one SQLite file or PostgreSQL database.

    Rows are O(commits) and indexed by table and time. Every method is one short transaction, safe
    from several processes. `sources` is the ledger of the source files that streams have taken.

    Args:
        uri: The database, as SQLAlchemy names it.
        wait_s: How long to wait for a lock, in seconds, or for a server to answer.

    Raises:
        DatabaseUnavailableError: Here and later, if it is locked, full, damaged or out of reach.
        RegistryNewerError: If a newer version of headrace has changed its schema.
        NotARegistryError: If the database holds tables of another program by the same names.

    """

    engine: sa.Engine
    passing: sa.Engine
    clock: ServerClock
    heartbeat: Heartbeat

    def __init__(self, uri: str, *, wait_s: float = 30) -> None:
        self.engine = open_engine(uri, wait_s=wait_s)
        # for rows that mean nothing after a power cut; waiting for the disk is most of their cost
        self.passing = open_engine(uri, wait_s=wait_s, durable=False)
        self.clock = ServerClock(self.passing)
        self.heartbeat = Heartbeat(self.renew_writes)
        try:
            migrate(self.engine)
        except BaseException:
            self.close()
            raise
        self.sources = SourceLedger(self.engine)

    def close(self) -> None:
        """Release the connections, and let the leases of writes lapse."""
        self.heartbeat.stop()
        self.engine.dispose()
        self.passing.dispose()
