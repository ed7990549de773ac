"""dbt that is started many times in one process: it does not look again for what cannot have changed."""

import functools
from collections.abc import Iterator

import pytest
from dbt.plugins.manager import PluginManager
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.tests import disable_test_caching, enable_test_caching


@pytest.fixture(scope="session", autouse=True)
def quick_dbt() -> Iterator[None]:
    """Leave out a quarter of what a start takes, and more where a project is parsed anew.

    That is to read the source of every frame, to say in a warning which module declares a flag, to list
    all installed modules, to find plugins of dbt, and to parse a text that was parsed: dbt's own macros
    are 500. What they call depends on the project, and is looked up each time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        found = functools.cache(PluginManager.get_prefixed_modules)
        patch.setattr(PluginManager, "get_prefixed_modules", found)
        enable_test_caching()
        yield
        disable_test_caching()
