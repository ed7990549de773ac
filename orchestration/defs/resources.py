"""Resources of every asset: the lake."""

import dagster as dg

from orchestration.lib.resource import LakeResource


@dg.definitions
def resources() -> dg.Definitions:
    """Provide the lake that the environment names."""
    return dg.Definitions(resources={"lake": LakeResource()})
