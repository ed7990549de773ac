"""Builds the shop's samples in a process of its own, so that a test can have it killed."""

import sys
from pathlib import Path

from headrace.samples.build import build
from headrace.tables.lake import Lake
from tests.samples.factories import sample_set, settings_in

if __name__ == "__main__":
    with Lake.open(settings_in(Path(sys.argv[1]))) as lake:
        build(lake, sample_set())
