"""The Open Bandit sample logs: real impressions and clicks, read from the files of the wheel `obp`.

The package itself is not imported, as that would load a machine-learning stack; only its CSV files
are read.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from headrace.errors import LakeError

POLICIES = ("bts", "random")
CAMPAIGNS = ("all", "men", "women")
LISTED_AT = datetime(2019, 11, 24, tzinfo=UTC)  # the catalogue at the start of the logs
_AFFINITY = "user-item_affinity_"
_SEGMENT_DIGITS = 6  # of each hashed user feature; enough to distinguish all 337 segments


class LogsNotFoundError(LakeError):
    """The wheel with the logs is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "the Open Bandit logs are not installed; they come with `requirements/data.txt`: "
            "run `make setup`"
        )


@dataclass(frozen=True, kw_only=True)
class Impression:
    """One logged impression; `clicked` is True if the user clicked it."""

    impression_id: str
    shown_at: datetime
    policy: str
    campaign: str
    item_id: int
    position: int
    propensity: float
    user_segment: str
    affinity_items: tuple[int, ...]
    clicked: bool


def logs_folder() -> Path:
    """Find the logs in the installed wheel without importing it.

    Raises:
        LogsNotFoundError: If the wheel is not installed.

    """
    spec = importlib.util.find_spec("obp")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "dataset" / "obd"
        if folder.is_dir():
            return folder
    raise LogsNotFoundError


def read_impressions(folder: Path) -> list[Impression]:
    """Read the six logs and merge them by time, then impression id."""
    found = [
        impression
        for policy in POLICIES
        for campaign in CAMPAIGNS
        for impression in _read_log(folder, policy=policy, campaign=campaign)
    ]
    return sorted(found, key=lambda impression: (impression.shown_at, impression.impression_id))


def read_items(folder: Path) -> list[dict[str, Any]]:
    """Read the items of each campaign.

    Both policies show the same items, but each log hashes their names with its own salt; the names
    of the first policy are used.
    """
    return [
        {
            "campaign": campaign,
            "item_id": row["item_id"],
            "listed_at": LISTED_AT,
            "price_score": row["item_feature_0"],
            "brand": row["item_feature_1"],
            "category": row["item_feature_2"],
            "style": row["item_feature_3"],
        }
        for campaign in CAMPAIGNS
        for row in pa_csv.read_csv(folder / POLICIES[0] / campaign / "item_context.csv").to_pylist()
    ]


def _read_log(folder: Path, *, policy: str, campaign: str) -> Iterator[Impression]:
    table = pa_csv.read_csv(
        folder / policy / campaign / f"{campaign}.csv",
        convert_options=pa_csv.ConvertOptions(column_types={"timestamp": pa.string()}),
    )
    plain = table.select(
        ["timestamp", "item_id", "position", "click", "propensity_score"]
        + [f"user_feature_{number}" for number in range(4)]
    )
    columns = zip(*(column.to_pylist() for column in plain.columns), strict=True)
    affinities = _affinities(table)
    for row, (shown, item, position, click, propensity, *features) in enumerate(columns):
        yield Impression(
            impression_id=f"{policy}/{campaign}/{row}",
            shown_at=datetime.fromisoformat(shown).astimezone(UTC),
            policy=policy,
            campaign=campaign,
            item_id=item,
            position=position,
            propensity=propensity,
            user_segment="-".join(feature[:_SEGMENT_DIGITS] for feature in features),
            affinity_items=affinities.get(row, ()),
            clicked=click == 1,
        )


def _affinities(table: pa.Table) -> Mapping[int, tuple[int, ...]]:
    """Map rows of the few users with a known affinity to the ids of these items."""
    names = [name for name in table.column_names if name.startswith(_AFFINITY)]
    found: dict[int, tuple[int, ...]] = {}
    for name in sorted(names, key=_item_of):
        for row in pc.indices_nonzero(table.column(name)).to_pylist():
            found[row] = (*found.get(row, ()), _item_of(name))
    return found


def _item_of(column: str) -> int:
    return int(column.removeprefix(_AFFINITY))
