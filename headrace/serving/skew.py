"""Compares what was served with what the training rule gives for the same moments, and says why not.

Every logged value is looked up again by the point-in-time rule, in the feature tables as they are now.
Where the two differ, older snapshots tell the cause: the one the store held, and the one that was the
newest of the table at the moment of the request.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.sample_set import SampleSet
from headrace.engines.open import open_engine
from headrace.samples.resolve import resolve
from headrace.serving.logged import asked as asked_rows
from headrace.serving.logged import parsed
from headrace.serving.skew_stored import StoredReplay
from headrace.serving.skew_verdicts import Cause, Mismatch, Verdict
from headrace.serving.skew_windows import WindowReplay
from headrace.tables.lake import OpenLake


@dataclass(frozen=True, kw_only=True)
class FeatureSkew:
    """How often the values of one feature were as in training, and the causes where not."""

    feature: str
    verdicts: Mapping[Verdict, int]
    causes: Mapping[Cause, int]


@dataclass(frozen=True, kw_only=True)
class SkewReport:
    """What a replay found: `rows` of the log, each feature, and the first mismatches."""

    sample_set: str
    rows: int
    features: tuple[FeatureSkew, ...]
    examples: tuple[Mismatch, ...]

    @property
    def mismatches(self) -> int:
        """How many values were not as in training."""
        return sum(sum(each.causes.values()) for each in self.features)


def measure_skew(
    lake: OpenLake, sample_set: SampleSet, log: pa.Table, *, examples_max: int = 100
) -> SkewReport:
    """Replay a serving log through the point-in-time rule.

    A value is `equal`, `different`, `missing` (null was served, training has a value) or `extra` (the
    reverse). The causes: `ttl`, the same row counted as expired on one side only; `tie`, rows of equal
    times; `definition`, the same row has another value now; `type`, equal numbers of different types;
    `removed`, the served row is gone from the table; `missing`, the store lacked a row of its own
    snapshot; `staleness`, the table had the row when the request came, the store did not;
    `superseded`, the request asked for an earlier moment, and the store had a newer row only;
    `late_arrival`, the row came into the table after the request; `unknown`, if the snapshots that
    would tell have expired. Of a window view the rows are its events: `definition`, it was served by
    another declaration; `removed`, events were deleted since; `staleness`, also where nobody had
    looked at the table for too long.

    Args:
        lake: The lake.
        sample_set: As the log was written for.
        log: Rows of the log's table.
        examples_max: How many mismatches to return with their values.

    Raises:
        DefinitionError: If the sample set contradicts its tables.

    """
    rows = log.filter(pc.equal(log.column("sample_set"), sample_set.name)).num_rows
    verdicts: dict[str, Counter[Verdict]] = {}
    causes: dict[str, Counter[Cause]] = {}
    examples: list[Mismatch] = []
    for found in replayed(lake, sample_set, log):
        verdicts.setdefault(found.feature, Counter())[found.verdict] += 1
        if found.verdict == "equal":
            continue
        causes.setdefault(found.feature, Counter())[found.cause] += 1
        if len(examples) < examples_max:
            examples.append(found)
    return SkewReport(
        sample_set=sample_set.name,
        rows=rows,
        features=tuple(
            FeatureSkew(feature=name, verdicts=dict(counts), causes=dict(causes.get(name, {})))
            for name, counts in verdicts.items()
        ),
        examples=tuple(examples),
    )


def replayed(lake: OpenLake, sample_set: SampleSet, log: pa.Table) -> Iterator[Mismatch]:
    """Yield every value of a log beside the one of training, also those that are equal.

    Args:
        lake: The lake.
        sample_set: As the log was written for.
        log: Rows of the log's table.

    Raises:
        DefinitionError: If the sample set contradicts its tables.

    """
    recipe = resolve(lake, sample_set)
    logged = list(parsed(log, sample_set.name))
    keys = [*(each.entity for each in recipe.features)]
    keys += [each.windows.entity for each in recipe.windows]
    entities = tuple(dict.fromkeys(name for key in keys for name in key))
    asked = asked_rows(log, sample_set.name, entities)
    with open_engine(lake.settings) as engine:
        replays: list[StoredReplay | WindowReplay] = [
            StoredReplay(lake, engine, feature, asked) for feature in recipe.features
        ]
        replays += [WindowReplay(lake, engine, used, asked) for used in recipe.windows]
        for replay in replays:
            yield from replay.compare(logged)
