"""The live table of a sample set: each sample as it became known, revision by revision.

A job of Flink writes a revision when an action of a sample becomes known within its labels' windows, and one
when all its labels are mature. The newest revision of a sample is what a build gives once it is mature; an
action that is known later makes another one, `corrected`.
"""

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from headrace.clock import ONE_US
from headrace.definitions.load import load_streams
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.window_rows import disorder_of
from headrace.errors import FlinkCannotSamplesError
from headrace.identifiers import TableName
from headrace.samples.first_arrivals import WITHIN
from headrace.samples.resolve import SAMPLE_ID, Recipe, pin_heads, resolve
from headrace.samples.schema import TIME, samples_schema
from headrace.tables.lake import OpenLake

SUFFIX = "_live"
CORRECTED_WITHIN = timedelta(hours=24)  # an action that is known later corrects no revision
_DAYS_MAX = 999  # the digits that an interval of Flink has


@dataclass(frozen=True, kw_only=True)
class LiveSamples:
    """A sample set that a job can follow: its recipe, its columns, and the streams of its tables.

    Args:
        recipe: What a build computes.
        samples: The columns of a sample.
        exposures: The stream of the exposures.
        labels: The stream of each label.

    """

    recipe: Recipe
    samples: pa.Schema
    exposures: Stream
    labels: tuple[Stream, ...]

    @property
    def table(self) -> TableName:
        """The name of the live table."""
        return TableName.parse(f"{self.recipe.table}{SUFFIX}")

    @property
    def schema(self) -> pa.Schema:
        """The columns of the live table: those of a sample, and when the revision was known."""
        return self.samples.append(pa.field(KNOWN_AT, TIME, nullable=False))

    @property
    def ends_us(self) -> int:
        """How long after an exposure all its labels are mature."""
        return max(each.window_us + each.lateness_us for each in self.recipe.labels)

    @property
    def apart(self) -> timedelta:
        """By how much an exposure may be known after an action on it."""
        return max(self.exposures.allowed_lateness, disorder_of(self.exposures))

    @property
    def reach(self) -> timedelta:
        """How long before a revision rows may have become known that matter to it."""
        return self.ends_us * ONE_US + 2 * self.apart + CORRECTED_WITHIN

    def columns_of(self, stream: Stream) -> frozenset[str]:
        """Return the columns of a stream's table that a job reads, but for times and places."""
        recipe, table = self.recipe, str(stream.table)
        found = {each.key for each in recipe.repeats if each.table == table}
        if table == recipe.exposures:
            found |= {recipe.id, *recipe.entities, *recipe.columns}
        for label in recipe.labels:
            if label.table == table:
                found |= {label.key, *((label.value,) if label.has_column else ())}
        return frozenset(found)


def live_samples(lake: OpenLake, sample_set: SampleSet) -> LiveSamples:
    """Resolve a sample set that a job can follow.

    Raises:
        FlinkCannotSamplesError: Naming the key of its declaration, and why SQL cannot say it.
        DefinitionError: If the declaration contradicts the tables.
        TableNotFoundError: If one of its tables does not exist.

    """
    if sample_set.features:
        raise FlinkCannotSamplesError(
            sample_set.name, "a look-up of features as they were then", key="features"
        )
    if not sample_set.labels:
        raise FlinkCannotSamplesError(sample_set.name, "nothing would be waited for", key="labels")
    _refuse_keep(sample_set)
    versions = pin_heads(lake, sample_set)
    recipe = resolve(lake, sample_set, versions=versions)
    streams = {str(each.table): each for each in load_streams(lake.settings).values()}
    found = LiveSamples(
        recipe=recipe,
        samples=samples_schema(recipe, versions),
        exposures=_stream(sample_set, streams.get(recipe.exposures), recipe.exposures, "exposures"),
        labels=tuple(
            _stream(sample_set, streams.get(each.table), each.table, "labels")
            for each in recipe.labels
        ),
    )
    _refuse_exposures(found)
    if found.reach + 2 * WITHIN > timedelta(days=_DAYS_MAX):
        what = f"an interval of Flink has at most {_DAYS_MAX} days"
        raise FlinkCannotSamplesError(recipe.name, what, key="labels")
    return found


def _stream(sample_set: SampleSet, stream: Stream | None, table: str, key: str) -> Stream:
    if stream is None:
        what = (
            f"`{table}` is not the table of a declared stream, whose rows say when they were known"
        )
        raise FlinkCannotSamplesError(sample_set.name, what, key=key)
    return stream


def _refuse_keep(sample_set: SampleSet) -> None:
    if sample_set.keep_negatives is None:
        return
    for label in sample_set.labels:
        if label.value not in ("exists", "count"):
            what = f"the value of `{label.name}` may become 0 again, and no row takes a sample back"
            raise FlinkCannotSamplesError(sample_set.name, what, key="keep_negatives")


def _refuse_exposures(live: LiveSamples) -> None:
    recipe = live.recipe
    key = live.exposures.key
    known = None if key is None else live.exposures.column_of(key)
    if (recipe.id, recipe.at) != (known, EVENT_TIME):
        what = "the id must be the `key` of their stream, and their time `event_time`"
        raise FlinkCannotSamplesError(recipe.name, what, key="exposures")
    for name in (recipe.id, *recipe.entities, *recipe.columns):
        kind = live.samples.field(SAMPLE_ID if name == recipe.id else name).type
        if pa.types.is_nested(kind):
            what = f"column `{name}` is a list, and SQL has no aggregate of lists"
            raise FlinkCannotSamplesError(recipe.name, what, key="exposures")


def newest_sql(relation: str) -> str:
    """Render the newest revision of each sample, without the time at which it was known."""
    newest = f"row_number() over (partition by {SAMPLE_ID} order by {KNOWN_AT} desc) as revision"
    return f"select * from (select *, {newest} from {relation}) where revision = 1"
