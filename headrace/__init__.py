"""headrace: a streaming lakehouse that feeds recommender training.

The names below are what `import headrace as hr` offers. Each is loaded when it is first used, so
that a script without training does not pay for PyTorch, nor one without tables for a catalog.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.api import Lake, build, publish
    from headrace.config import MIB, Settings
    from headrace.errors import LakeError
    from headrace.ingest import ingest
    from headrace.loading import Batch, FeatureSpec, SampleLoader, Shuffle
    from headrace.maintenance.compaction.any_table import compact
    from headrace.rows import Rows

__all__ = [
    "MIB",
    "Batch",
    "FeatureSpec",
    "Lake",
    "LakeError",
    "Rows",
    "SampleLoader",
    "Settings",
    "Shuffle",
    "build",
    "compact",
    "ingest",
    "publish",
]

_HOMES = {
    "MIB": "headrace.config",
    "Batch": "headrace.loading",
    "FeatureSpec": "headrace.loading",
    "Lake": "headrace.api",
    "LakeError": "headrace.errors",
    "Rows": "headrace.rows",
    "SampleLoader": "headrace.loading",
    "Settings": "headrace.config",
    "Shuffle": "headrace.loading",
    "build": "headrace.api",
    "compact": "headrace.maintenance.compaction.any_table",
    "ingest": "headrace.ingest",
    "publish": "headrace.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    home = _HOMES.get(name)
    if home is None:
        msg = f"module `headrace` has no attribute `{name}`; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    try:
        found = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        msg = f"`headrace.{name}` needs PyTorch; install it with: pip install 'headrace[train]'"
        raise ModuleNotFoundError(msg, name="torch") from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
