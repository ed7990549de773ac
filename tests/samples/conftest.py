"""One shop per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from tests.samples.factories import Shop, fill, settings_in


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Three days of two exposures each, one feature row a day, no taps yet."""
    with Lake.open(settings_in(tmp_path)) as lake:
        yield fill(Shop.open(lake))
