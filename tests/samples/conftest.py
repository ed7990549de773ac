"""One shop per test; the unpacked SQL extensions are shared, they take longer than most tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.tables.lake import Lake
from tests.samples.factories import Shop, fill, settings_in


@pytest.fixture(scope="session")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder all lakes of this session keep SQL extensions in."""
    return tmp_path_factory.mktemp("extensions")


@pytest.fixture
def shop_folder(tmp_path: Path, extensions: Path) -> Path:
    """A lake's folder without tables."""
    share_extensions(tmp_path / "state", extensions)
    return tmp_path


@pytest.fixture
def shop(shop_folder: Path) -> Iterator[Shop]:
    """Three days of two exposures each, one feature row a day, no taps yet."""
    with Lake.open(settings_in(shop_folder)) as lake:
        yield fill(Shop.open(lake))


def share_extensions(state_dir: Path, extensions: Path) -> None:
    """Make a lake keep its SQL extensions in the shared folder."""
    state_dir.mkdir(parents=True)
    (state_dir / "extensions").symlink_to(extensions, target_is_directory=True)
