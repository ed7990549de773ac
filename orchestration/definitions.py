"""The code location: all definitions in `defs`, for the lake that the environment configures."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load the asset graph; a stream or sample set added as YAML needs no code."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
