"""The code location: everything below `defs`, for the lake that the environment names."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load the asset graph; a stream or sample set added as YAML is in it without code."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
