"""A code location of streams and their sensor alone: loading dbt's models would cost each run seconds."""

import dagster as dg

from orchestration.defs.ingest.assets import streams
from orchestration.defs.ingest.sensors import new_source_files
from orchestration.defs.resources import resources


@dg.definitions
def defs() -> dg.Definitions:
    """Load the assets of the declared streams, and what asks for them."""
    return dg.Definitions.merge(
        streams(),
        dg.Definitions(sensors=[new_source_files]),
        resources(),
    )
