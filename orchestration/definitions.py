"""The code location: all definitions in `defs`, for the lake that the environment configures."""

import warnings
from pathlib import Path

import dagster as dg

from headrace.config import Settings
from orchestration.lib.declared import read_declared
from orchestration.lib.shown import Shown


@dg.definitions
def defs() -> dg.Definitions:
    """Load the asset graph; a stream or sample set added as YAML needs no code."""
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    settings = Settings.load()
    shown = Shown(settings, read_declared(settings))
    with warnings.catch_warnings():
        # mapping specs of loaded definitions is a preview in Dagster 1.13; the test of all specs
        # shows whether it still does what it did
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return loaded.map_resolved_asset_specs(func=shown.complete)
