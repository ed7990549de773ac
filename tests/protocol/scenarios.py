"""Who meets whom: each scenario is one search; what they leave out is in `docs/protocol.md`."""

from typing import Final

from tests.protocol.explore import Scenario
from tests.protocol.keepers import Cleaner, Expirer, Reader, Tagger
from tests.protocol.publisher import Publisher
from tests.protocol.rules import Bounds
from tests.protocol.writers import Appender, Compactor, Ingester, Rewriter

INGESTERS: Final = Scenario(
    name="two ingesters",
    roles=(Ingester, Ingester),
    bounds=Bounds(records=2, keep=1, crashes=1, losses=1),
)
APPENDS: Final = Scenario(
    name="ingester and appender",
    roles=(Ingester, Appender),
    bounds=Bounds(records=2, keep=0, crashes=1, losses=1),
)
REWRITES: Final = Scenario(
    name="ingester, compaction and delete",
    roles=(Ingester, Compactor, Rewriter),
    bounds=Bounds(records=3, keep=0, crashes=0, losses=0),
)
LEASES: Final = Scenario(
    name="ingester, tag and lease",
    roles=(Ingester, Tagger, Reader),
    bounds=Bounds(records=3, batches=(1,), keep=0, crashes=0, losses=0),
)
EXPIRY: Final = Scenario(
    name="ingester, tag, lease and expiry",
    roles=(Ingester, Tagger, Reader, Expirer),
    bounds=Bounds(records=3, batches=(1,), keep=0, crashes=0, losses=0),
)
PUBLISHING: Final = Scenario(
    name="ingester, publisher and expiry",
    roles=(Ingester, Publisher, Expirer),
    bounds=Bounds(records=2, keep=0, crashes=0, losses=0),
)
CLEANING: Final = Scenario(
    name="ingester, compaction, tag and clean-up",
    roles=(Ingester, Compactor, Tagger, Cleaner),
    bounds=Bounds(records=2, batches=(1,), keep=0, crashes=1, losses=0, cleans=True),
)
SHORT: Final = (INGESTERS, APPENDS, REWRITES, LEASES, PUBLISHING, CLEANING)
LONG: Final = (
    INGESTERS.within(crashes=2),
    APPENDS.within(crashes=0, losses=2),
    REWRITES.within(crashes=0, losses=1),
    EXPIRY,
    PUBLISHING.within(crashes=1),
    CLEANING.within(losses=1, crashes=0),
)
