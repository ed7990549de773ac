"""Errors of query engines that run on servers."""

from headrace.errors.base import NOTHING_COMMITTED, LakeError
from headrace.errors.remedy import Remedy


class QueryFailedError(LakeError):
    """A query engine on a server refused or failed a statement.

    `reason` is the engine's name for it, `link` the page of its user interface about the query.
    """

    def __init__(self, detail: str, *, reason: str, query_id: str = "", link: str = "") -> None:
        self.detail, self.reason, self.query_id, self.link = detail, reason, query_id, link
        named = f"query `{query_id}`" if query_id else "a query"
        remedy = Remedy(advice=f"see what it did: {link}") if link else None
        super().__init__(
            f"{named} failed with {reason}: {detail}", state=NOTHING_COMMITTED, remedy=remedy
        )


class EngineUnavailableError(LakeError):
    """A query engine's server cannot be reached, or ended while it ran a statement."""

    retryable = True

    def __init__(
        self, address: str, detail: str, *, engine: str = "Trino", query_id: str = ""
    ) -> None:
        self.engine, self.address, self.detail, self.query_id = engine, address, detail, query_id
        during = f" during query `{query_id}`" if query_id else ""
        super().__init__(
            f"{engine} at {address} does not answer{during}: {detail}",
            state=NOTHING_COMMITTED,
            remedy=Remedy(advice="see whether it runs, then run the same command again"),
        )


class UnsupportedEngineError(LakeError):
    """A query engine's version or configuration would give wrong results."""

    def __init__(self, detail: str, *, engine: str = "Trino", remedy: Remedy) -> None:
        self.engine, self.detail = engine, detail
        super().__init__(f"{engine} is refused: {detail}", remedy=remedy)


class RewriteRefusedError(LakeError):
    """A query engine's server rewrote files, and what it wrote is not what they hold."""

    def __init__(
        self, table: str, detail: str, *, engine: str = "Trino", query_id: str = ""
    ) -> None:
        self.table, self.engine, self.detail, self.query_id = table, engine, detail, query_id
        super().__init__(
            f"{engine}'s compaction of `{table}` {detail} (query `{query_id}`)",
            state=NOTHING_COMMITTED,
            remedy=Remedy.run_on_catalog("tables", "compact", table, advice="to compact it here"),
        )
