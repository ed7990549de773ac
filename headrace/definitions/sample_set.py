"""Sample sets: which exposures become training samples, with which features and labels."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from headrace.definitions.base import TUPLE, Declaration, Name, Names, Table, refuse_repeats
from headrace.definitions.durations import Duration

# a sample's columns about the feature row used, after the view's name and `__`; `logged` is there only
# in sample sets with `logged`
ABOUT_ROW = ("event_time", "known_at", "logged")
LOG_COLUMNS = ("event_time", "at", "sample_set", "values", "views")  # of the table of a serving log


class Exposures(Declaration):
    """The rows that become samples: one table, its key, its time, its entities."""

    noun: ClassVar[str] = "exposures"
    misnomers: ClassVar[dict[str, str]] = {
        "key": "id",
        "event_time": "at",
        "time": "at",
        "passthrough": "columns",
    }

    table: Table
    """The table whose rows become samples. Example: `staging.impressions`"""
    id: Name
    """The column that tells them apart. Example: `impression_id`"""
    at: Name = "event_time"
    """The column that says when they were shown: features are joined as they were known then.
    Example: `event_time`"""
    entities: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    """The columns that features are looked up by. Example: `[user_id, item_id]`"""
    columns: Annotated[Names, AfterValidator(refuse_repeats)] = ()
    """Other columns that a sample takes over. Example: `[position]`"""

    @field_validator("columns")
    @classmethod
    def _not_twice(cls, columns: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in columns:
            if name in info.data.get("entities", ()):
                msg = f"`{name}` is an entity already; a sample holds it once"
                raise ValueError(msg)
        return columns


class FeatureUse(Declaration):
    """Columns of one feature view."""

    noun: ClassVar[str] = "a feature"

    view: Table
    """The feature view, or window view. Example: `features.item_ctr`"""
    columns: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    """The columns that a sample takes. Example: `[ctr_1d, impressions_1d]`"""
    ttl: Duration | None = None
    """How old a value may be; it overrides the view's. Example: `14d`"""
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,20}$")] = ""
    """Put before the names of the columns, where another view has the same. Example: `item_`"""

    @property
    def name(self) -> str:
        """The prefix of the sample's columns about the feature row used: `<name>__event_time`."""
        return self.view.name

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns in a sample."""
        return tuple(self.prefix + column for column in self.columns)


class Label(Declaration):
    """What happened after an exposure, within a window."""

    noun: ClassVar[str] = "a label"
    misnomers: ClassVar[dict[str, str]] = {"table": "stream", "label": "name", "id": "key"}

    name: Name
    """Its column in the samples. Example: `click`"""
    stream: Table
    """The table of what happened. Example: `staging.clicks`"""
    window: Duration
    """How long after the exposure it counts. Example: `30m`"""
    value: Name = "exists"
    """`exists` (0 or 1), `count`, or a column of that table (its first value). Example: `exists`"""
    key: Name | None = None
    """The column of that table that holds the exposure's id; by default it has the same name.
    Example: `impression_id`"""

    @field_validator("window")
    @classmethod
    def _positive(cls, window: timedelta) -> timedelta:
        if not window:
            msg = "a label's window must be longer than `0s`"
            raise ValueError(msg)
        return window


class Logged(Declaration):
    """Features as they were served: the serving log's values before those of the tables."""

    noun: ClassVar[str] = "`logged`"
    misnomers: ClassVar[dict[str, str]] = {"table": "log", "stream": "log", "key": "id"}

    log: Table
    """The table of a serving log. Example: `raw.served`"""
    id: Name | None = None
    """The column of the log that holds the exposure's id; by default it has the same name.
    Example: `impression_id`"""
    within: Duration = timedelta(hours=1)
    """How long before the exposure an answer may have been given. Example: `1h`"""

    @field_validator("within")
    @classmethod
    def _positive(cls, within: timedelta) -> timedelta:
        if not within:
            msg = "answers are given before exposures: `within` must be longer than `0s`"
            raise ValueError(msg)
        return within


def _rate(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        msg = f"`{value}` must be a number above 0, up to 1"
        raise ValueError(msg)  # noqa: TRY004  (pydantic collects ValueError)
    try:
        rate = Decimal(str(value))
    except ArithmeticError as error:
        msg = f"`{value}` must be a number above 0, up to 1"
        raise ValueError(msg) from error
    if not 0 < rate <= 1:
        msg = f"`{value}` must be above 0, up to 1"
        raise ValueError(msg)
    return rate


class KeepNegatives(Declaration):
    """Negative sampling: samples without a positive label stay if hash(id, salt) is below `rate`."""

    noun: ClassVar[str] = "`keep_negatives`"

    rate: Annotated[Decimal, BeforeValidator(_rate), PlainSerializer(str, return_type=str)]
    """The share of samples without a positive label that stays, by a hash of id and salt. Example:
    `0.25`"""
    salt: str
    """A text; another one keeps other samples. Example: `v1`"""


class SampleSet(Declaration):
    """A sample set: which exposures become training samples, with which features and labels."""

    noun: ClassVar[str] = "a sample set"
    misnomers: ClassVar[dict[str, str]] = {
        "name": "samples",
        "exposure": "exposures",
        "negatives": "keep_negatives",
        "sampling": "keep_negatives",
    }

    samples: Name
    """Its name, by which commands know it. Example: `ctr`"""
    table: Table
    """The table that samples are built into. Example: `samples.ctr`"""
    exposures: Exposures
    """The rows that become samples. Example: `{table: raw.impressions, id: impression_id, entities:
    [user_id]}`"""
    features: Annotated[tuple[FeatureUse, ...], TUPLE] = ()
    """What a sample knows of its entities. Example: `[{view: features.item_ctr, columns: [ctr_1d]}]`
    """
    logged: Logged | None = None
    """Take features as they were served, where a serving log has them. Example: `{log: raw.served}`"""
    labels: Annotated[tuple[Label, ...], TUPLE] = ()
    """What happened afterwards. Example: `[{name: click, stream: raw.clicks, window: 30m}]`"""
    keep_negatives: KeepNegatives | None = None
    """Negative sampling; without it every sample stays. Example: `{rate: 0.25, salt: v1}`"""
    partition_by: Literal["day"] = "day"
    """How the table is partitioned: by day of the exposure. Example: `day`"""

    @field_validator("features")
    @classmethod
    def _no_clash(
        cls, features: tuple[FeatureUse, ...], info: ValidationInfo
    ) -> tuple[FeatureUse, ...]:
        exposures: Exposures | None = info.data.get("exposures")
        owner = {"sample_id": "the sample's id", "event_time": "the exposure's time"}
        if exposures is not None:
            owner |= dict.fromkeys((*exposures.entities, *exposures.columns), "an exposure column")
        refuse_repeats(tuple(str(feature.view) for feature in features))
        for feature in features:
            about = tuple(f"{feature.name}__{what}" for what in ABOUT_ROW)
            for column in (*feature.column_names, *about):
                if column in owner:
                    msg = (
                        f"column `{column}` of `{feature.view}` has the name of "
                        f"{owner[column]}; give this feature a `prefix`"
                    )
                    raise ValueError(msg)
                owner[column] = f"a column of `{feature.view}`"
        return features

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        refuse_repeats(tuple(label.name for label in labels))
        return labels

    @property
    def name(self) -> str:
        """The sample set's name."""
        return self.samples

    @property
    def log_key(self) -> str:
        """The column of the serving log that holds the exposure id."""
        return (self.logged and self.logged.id) or self.exposures.id

    def label_key(self, label: Label) -> str:
        """Return the column of the label's table that holds the exposure id."""
        return label.key or self.exposures.id
