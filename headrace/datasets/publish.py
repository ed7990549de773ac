"""Publishing a dataset version: measure, claim the number, tag what it pins, write the lockfile.

Everything that is decided is decided before the claim; what follows it only carries the claimed
lockfile out and may be repeated by anyone. So a publisher that died is completed by the next one.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from typing import Literal

from headrace.crash_points import crash_point
from headrace.datasets.content_hash import ContentHash
from headrace.datasets.files import FilePlan
from headrace.datasets.lockfile import LockedDay, Lockfile, Pin, tag_name
from headrace.datasets.measure import (
    DayContent,
    Measure,
    kinds_of,
    label_counts,
    measure_day,
    profiles_of,
)
from headrace.datasets.selection import Selection, select_days
from headrace.datasets.shown import html_of, line_of
from headrace.datasets.versions import (
    ABANDONED,
    CLAIMED,
    PUBLISHED,
    documents_of,
    file_plan_path,
    lockfile_path,
)
from headrace.definitions.sample_set import SampleSet
from headrace.errors import (
    CommitConflictError,
    PublishReason,
    PublishRefusedError,
    Remedy,
    SnapshotNotFoundError,
    TableNotFoundError,
    VersionExistsError,
)
from headrace.registry import DatasetRecord
from headrace.samples.resolve import Recipe
from headrace.tables.lake import OpenLake
from headrace.tables.refs.refs import tag
from headrace.tables.version import TableVersion


@dataclass(frozen=True)
class Publication:
    """The version that now stands for the content asked for, and whether this call made it."""

    lock: Lockfile
    outcome: Literal["published", "unchanged"]

    def __repr__(self) -> str:
        return f"Publication({self.outcome}: {line_of(self.lock)})"

    def _repr_html_(self) -> str:
        return html_of(self.lock)


def publish(
    lake: OpenLake,
    sample_set: SampleSet,
    *,
    first_day: dt.date | None = None,
    last_day: dt.date | None = None,
    version: int | None = None,
    allow_pending: bool = False,
) -> Publication:
    """Publish the samples as they are now, pinned together with everything they came from.

    Without a range: every day whose labels have all matured; the others are listed in the lockfile
    as left out. Publishing the same content again makes no new version and changes nothing.
    Atomic: a version is listed once its tags, file plan and lockfile are there.

    Args:
        lake: The lake.
        sample_set: The declaration the samples were built from.
        first_day: First day of an explicit range (its days must have mature labels).
        last_day: Last day of an explicit range.
        version: The version number wanted; by default the next free one.
        allow_pending: Take days with pending labels as they are.

    Raises:
        PublishRefusedError: If the samples are not in a state that can be pinned and rebuilt.
        VersionExistsError: If `version` is taken by other content.
        ValueError: If `version` is not positive.

    """
    if version is not None and version < 1:
        msg = f"a version is 1 or more, not {version}"
        raise ValueError(msg)
    _finish_claims(lake, sample_set.name)
    samples = _samples(lake, sample_set)
    selection = select_days(
        lake,
        sample_set,
        samples,
        first_day=first_day,
        last_day=last_day,
        allow_pending=allow_pending,
    )
    draft = _draft(sample_set, samples, selection, allow_pending=allow_pending)
    _check_pins(lake, draft)
    while True:
        _finish_claims(lake, draft.name)
        taken = lake.registry.datasets(draft.name)
        if any(record.state == CLAIMED for record in taken):
            continue  # another publisher was first: see what it claimed
        same = _same_content(draft, taken, version=version)
        if same is not None:
            return Publication(same, "unchanged")
        number = version or max((record.version for record in taken), default=0) + 1
        if any(record.version == number for record in taken):
            raise VersionExistsError(draft.name, number)
        lock = _numbered(draft, number)
        if lake.registry.claim_dataset(lock.name, number, lockfile=lock.to_json()):
            _complete_or_abandon(lake, lock)
            return Publication(lock, "published")


def _samples(lake: OpenLake, sample_set: SampleSet) -> TableVersion:
    samples = lake.head_of(sample_set.table)
    if samples is not None and samples.snapshot_id is not None:
        # as its last commit left it, which is how a version is read: see `versions.pinned_samples`
        return samples.in_schema_at_commit()
    build = Remedy.run("samples", "build", sample_set.name)
    detail, reason = "there are no samples yet", PublishReason.NO_SAMPLES
    raise PublishRefusedError(sample_set.name, detail, reason=reason, remedy=build)


def _draft(
    sample_set: SampleSet, samples: TableVersion, selection: Selection, *, allow_pending: bool
) -> Lockfile:
    """Read every chosen day and write down what it is; version 0 until the number is known."""
    columns = [name for name in samples.schema.names if name not in selection.approximate]
    measure = Measure(
        tuple(columns),
        labels=tuple(label.name for label in sample_set.labels),
        profiled=_inputs_of_models(selection.recipe, columns),
    )
    contents = [measure_day(samples, day, measure) for day in selection.days]
    whole = ContentHash(measure.schema_of(samples.schema))
    for content in contents:
        whole.merge(content.content)
    days = tuple(_locked_day(content, selection) for content in contents)
    if samples.snapshot_id is None:
        msg = "a draft needs a snapshot"
        raise ValueError(msg)
    return Lockfile(
        name=sample_set.name,
        version=0,
        table=str(samples.name),
        snapshot_id=samples.snapshot_id,
        first_day=selection.first_day,
        last_day=selection.last_day,
        filter_labels="any" if allow_pending else "mature",
        left_out=selection.left_out,
        columns=kinds_of(samples.schema, columns),
        approximate=selection.approximate,
        code=selection.recipe.code,
        definition=json.loads(selection.recipe.to_json()),
        watermarks=_least([day.watermarks for day in days]),
        rows=whole.rows,
        labels=label_counts(contents),
        content_hash=whole.hexdigest(),
        days=days,
        pins=(),
        created_at=dt.datetime.now(dt.UTC),
        headrace_version=installed_version("headrace"),
        profiles=profiles_of(contents, measure),
    )


def _inputs_of_models(recipe: Recipe, columns: Sequence[str]) -> tuple[str, ...]:
    read = (each.columns for each in (*recipe.features, *recipe.windows))
    wanted = {*recipe.entities, *recipe.columns, *(name for each in read for _, name in each)}
    return tuple(name for name in columns if name in wanted)


def _locked_day(content: DayContent, selection: Selection) -> LockedDay:
    pinned = selection.pinned[content.day]
    return LockedDay(
        day=content.day,
        rows=content.content.rows,
        content_hash=content.content.hexdigest(),
        inputs=dict(pinned.inputs),
        watermarks=dict(pinned.watermarks),
    )


def _least(watermarks: Sequence[Mapping[str, int]]) -> dict[str, int]:
    streams = {stream for each in watermarks for stream in each}
    return {
        stream: min(each[stream] for each in watermarks if stream in each)
        for stream in sorted(streams)
    }


def _numbered(draft: Lockfile, number: int) -> Lockfile:
    """Give the draft its version, and every distinct snapshot it rests on a tag."""
    pins = [Pin(table=draft.table, snapshot_id=draft.snapshot_id, tag=tag_name(draft.name, number))]
    for table in sorted({table for day in draft.days for table in day.inputs}):
        used = dict.fromkeys(day.inputs[table] for day in draft.days if table in day.inputs)
        pins += [
            Pin(table=table, snapshot_id=snapshot, tag=tag_name(draft.name, number, nth=nth))
            for nth, snapshot in enumerate(used, start=1)
        ]
    return replace(draft, version=number, pins=tuple(pins))


def _check_pins(lake: OpenLake, draft: Lockfile) -> None:
    for pin in _numbered(draft, 1).pins:
        try:
            lake.table(pin.table).at(snapshot_id=pin.snapshot_id)
        except (SnapshotNotFoundError, TableNotFoundError) as error:
            detail = (
                f"snapshot {pin.snapshot_id} of `{pin.table}`, which samples were built from, has "
                "expired"
            )
            build = Remedy.run("samples", "build", draft.name)
            reason = PublishReason.INPUT_EXPIRED
            raise PublishRefusedError(draft.name, detail, reason=reason, remedy=build) from error


def _same_content(
    draft: Lockfile, taken: Sequence[DatasetRecord], *, version: int | None
) -> Lockfile | None:
    """Find the version that already says the same: the one asked for, or else the newest."""
    published = [
        Lockfile.from_json(record.lockfile, source=tag_name(record.name, record.version))
        for record in taken
        if record.state == PUBLISHED and version in (None, record.version)
    ]
    if published and published[-1].same_content(draft):
        return published[-1]
    return None


def _finish_claims(lake: OpenLake, name: str) -> None:
    """Carry out what publishers claimed and did not finish, dead or alive."""
    for record in lake.registry.datasets(name):
        if record.state == CLAIMED:
            source = tag_name(record.name, record.version)
            lock = Lockfile.from_json(record.lockfile, source=source)
            try:
                _complete_or_abandon(lake, lock)
            except (PublishRefusedError, VersionExistsError):
                continue  # abandoned: its number stays taken, the next publication gets another


def _complete_or_abandon(lake: OpenLake, lock: Lockfile) -> None:
    try:
        _complete(lake, lock)
    except FileExistsError as error:
        lake.registry.settle_dataset(lock.name, lock.version, state=ABANDONED)
        raise VersionExistsError(lock.name, lock.version) from error
    except (SnapshotNotFoundError, TableNotFoundError, CommitConflictError) as error:
        lake.registry.settle_dataset(lock.name, lock.version, state=ABANDONED)
        raise PublishRefusedError(
            lock.name,
            f"v{lock.version} could not be pinned ({error})",
            reason=PublishReason.NOT_PINNED,
            remedy=Remedy(advice="publish again for another version"),
        ) from error


def _complete(lake: OpenLake, lock: Lockfile) -> None:
    for pin in lock.pins:
        tag(lake.table(pin.table), pin.tag, snapshot_id=pin.snapshot_id)
    crash_point("datasets.after_tags")
    pinned = lake.table(lock.table).at(snapshot_id=lock.snapshot_id)
    plan = FilePlan.of(pinned, partitions=[(day.day,) for day in lock.days])
    store = documents_of(lake.settings)
    # the registry let one publisher claim the number; the store does so once more, as a lake with
    # another registry may share the warehouse: its file plan stays too
    path = lockfile_path(lake.settings, lock.name, lock.version)
    store.create(path, lock.to_json().encode())
    crash_point("datasets.after_lockfile")
    plan.write(file_plan_path(lake.settings, lock.name, lock.version), store=store)
    lake.registry.settle_dataset(lock.name, lock.version, state=PUBLISHED)
