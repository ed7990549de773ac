"""What every asset shares: the lake, and how the steps of a run are executed."""

import dagster as dg

from orchestration.lib.resource import LakeResource


@dg.definitions
def resources() -> dg.Definitions:
    """Provide the lake that the environment names."""
    # a process per step would take longer to start than most steps take to run
    return dg.Definitions(resources={"lake": LakeResource()}, executor=dg.in_process_executor)
