"""The position of a loader in its epoch: small JSON, independent of ranks and threads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headrace.errors import LoaderStateError

VERSION = 1
_POSITION = ("epoch", "samples_in_epoch", "global_batch")


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """The progress of training.

    `samples_in_epoch` counts global positions over all ranks, so the state is the same on each of
    them, and any number of ranks can resume from it. `global_batch` is informative: with another
    value the rest of the epoch has the same rows, in different batches.
    """

    version: int = VERSION
    source: str
    snapshot_id: int | None
    files: str
    spec: str
    order: str
    epoch: int
    samples_in_epoch: int
    global_batch: int

    def to_dict(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], *, current: "LoaderState") -> "LoaderState":
        """Read a saved position and check that it belongs to the input of `current`.

        Raises:
            LoaderStateError: If it does not; it names the first difference, with both values.

        """
        for name, found in asdict(current).items():
            if name not in saved:
                raise LoaderStateError(name.replace("_", " "), saved="missing", found=found)
            if name not in _POSITION and saved[name] != found:
                raise LoaderStateError(name.replace("_", " "), saved=saved[name], found=found)
        for name in _POSITION:
            if not isinstance(saved[name], int) or saved[name] < 0:
                raise LoaderStateError(name, saved=saved[name], found="a count")
        return cls(**{name: saved[name] for name in asdict(current)})
