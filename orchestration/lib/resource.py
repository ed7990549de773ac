"""The resource that opens the lake."""

import dagster as dg

from headrace.config import Settings
from headrace.tables.lake import OpenLake


class LakeResource(dg.ConfigurableResource[None]):
    """The lake that the environment names (`HEADRACE_LAKE`, `HEADRACE_STATE_DIR`, …)."""

    def settings(self) -> Settings:
        """Read the settings anew."""
        return Settings.load()

    def open(self) -> OpenLake:
        """Open the lake; the caller closes it."""
        return OpenLake.open(self.settings())
