"""The resource that opens the lake."""

import dagster as dg

from headrace.config import Settings
from headrace.tables.lake import OpenLake


class LakeResource(dg.ConfigurableResource[None]):
    """The lake that the environment configures (`HEADRACE_LAKE`, `HEADRACE_STATE_DIR`, …)."""

    def settings(self) -> Settings:
        """Load the settings; they are not cached."""
        return Settings.load()

    def open(self) -> OpenLake:
        """Open the lake; the caller closes it."""
        return OpenLake.open(self.settings())
