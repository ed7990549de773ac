"""dbt that is started many times in one process: it does not look again for what cannot have changed."""

import functools
from collections.abc import Iterator

import pytest
from dbt.plugins.manager import PluginManager
from dbt_common.behavior_flags import BehaviorFlagRendered


@pytest.fixture(scope="session", autouse=True)
def quick_dbt() -> Iterator[None]:
    """Leave out a quarter of what a start takes.

    That is to read the source of every frame, to say in a warning which module declares a flag, and to
    list all installed modules, to find plugins of dbt.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        found = functools.cache(PluginManager.get_prefixed_modules)
        patch.setattr(PluginManager, "get_prefixed_modules", found)
        yield
