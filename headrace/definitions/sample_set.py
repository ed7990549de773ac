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
    id: Name
    at: Name = "event_time"
    entities: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    columns: Annotated[Names, AfterValidator(refuse_repeats)] = ()

    @field_validator("columns")
    @classmethod
    def _not_twice(cls, columns: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in columns:
            if name in info.data.get("entities", ()):
                msg = f"`{name}` is an entity already; a sample holds it once"
                raise ValueError(msg)
        return columns


class FeatureUse(Declaration):
    """Columns of one feature view; `ttl` overrides the view's, `prefix` avoids name clashes."""

    noun: ClassVar[str] = "a feature"

    view: Table
    columns: Annotated[Names, Field(min_length=1), AfterValidator(refuse_repeats)]
    ttl: Duration | None = None
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,20}$")] = ""

    @property
    def name(self) -> str:
        """The prefix of the sample's columns about the feature row used: `<name>__event_time`."""
        return self.view.name

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns in a sample."""
        return tuple(self.prefix + column for column in self.columns)


class Label(Declaration):
    """What happened after an exposure, within a window.

    `value` is `exists` (0 or 1), `count`, or a column of the label stream (its first value).
    `key` is the label table's column that holds the exposure id; by default it has the same name.
    """

    noun: ClassVar[str] = "a label"
    misnomers: ClassVar[dict[str, str]] = {"table": "stream", "label": "name", "id": "key"}

    name: Name
    stream: Table
    window: Duration
    value: Name = "exists"
    key: Name | None = None

    @field_validator("window")
    @classmethod
    def _positive(cls, window: timedelta) -> timedelta:
        if not window:
            msg = "a label's window must be longer than `0s`"
            raise ValueError(msg)
        return window


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
    salt: str


class SampleSet(Declaration):
    """A sample set."""

    noun: ClassVar[str] = "a sample set"
    misnomers: ClassVar[dict[str, str]] = {
        "name": "samples",
        "exposure": "exposures",
        "negatives": "keep_negatives",
        "sampling": "keep_negatives",
    }

    samples: Name
    table: Table
    exposures: Exposures
    features: Annotated[tuple[FeatureUse, ...], TUPLE] = ()
    labels: Annotated[tuple[Label, ...], TUPLE] = ()
    keep_negatives: KeepNegatives | None = None
    partition_by: Literal["day"] = "day"

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
            times = (f"{feature.name}__event_time", f"{feature.name}__known_at")
            for column in (*feature.column_names, *times):
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

    def label_key(self, label: Label) -> str:
        """Return the column of the label's table that holds the exposure id."""
        return label.key or self.exposures.id
