"""The resource that opens the lake."""

import dagster as dg

from headrace.config import Settings
from headrace.tables.lake import Lake


class LakeResource(dg.ConfigurableResource[None]):
    """The lake that the environment names (`HEADRACE_LAKE`, `HEADRACE_STATE_DIR`, …)."""

    def settings(self) -> Settings:
        """Read the settings anew."""
        return Settings.load()

    def open(self) -> Lake:
        """Open the lake; the caller closes it."""
        return Lake.open(self.settings())
