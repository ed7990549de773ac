"""What Dagster loads: the asset graph of this lake, and assets of your own."""

import sys

import dagster as dg

from headrace.scaffold.shells import shell_folder

sys.path.append(str(shell_folder()))

import orchestration.definitions  # found in the folder above


@dg.definitions
def defs() -> dg.Definitions:
    """Merge the lake's graph with your own definitions."""
    own = dg.Definitions()
    return dg.Definitions.merge(orchestration.definitions.defs(), own)
