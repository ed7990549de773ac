"""Errors of dataset versions and of loading them."""

from headrace.errors.base import LakeError
from headrace.errors.reasons import (
    DatasetReason,
    FeatureSpecReason,
    LockfileReason,
    PublishReason,
)
from headrace.errors.remedy import Remedy


class SampleNotFoundError(LakeError):
    """No built sample has this id."""

    def __init__(self, sample_id: str, *, sample_sets: tuple[str, ...]) -> None:
        self.sample_id, self.sample_sets = sample_id, sample_sets
        listed = ", ".join(f"`{name}`" for name in sample_sets) or "none yet"
        super().__init__(
            f"there is no sample `{sample_id}` in the built sample sets ({listed}); it may be a "
            "negative that was not kept",
            remedy=Remedy.run(
                "samples", "build", "NAME", advice="if its day is not built, build it"
            ),
        )


class VersionExistsError(LakeError):
    """A dataset version is already published with other content."""

    def __init__(self, dataset: str, version: int) -> None:
        self.dataset, self.version = dataset, version
        super().__init__(
            f"`{dataset}` v{version} is already published with other content",
            remedy=Remedy.run(
                "datasets", "list", advice="publish the next version, or see what is published"
            ),
        )


class DatasetNotFoundError(LakeError):
    """No such dataset version is published; `version` is None if any would do."""

    def __init__(self, dataset: str, version: int | None, *, known: tuple[str, ...] = ()) -> None:
        self.dataset, self.version, self.known = dataset, version, known
        listed = ", ".join(known) or "none yet"
        wanted = f"version of `{dataset}`" if version is None else f"`{dataset}` v{version}"
        super().__init__(f"there is no {wanted}; published: {listed}")


class DatasetChangedError(LakeError):
    """A published dataset version no longer reads as its lockfile says.

    `table` names the table and `day` the day of samples that differ, where it is one.
    """

    def __init__(
        self,
        dataset: str,
        version: int,
        detail: str,
        *,
        reason: DatasetReason,
        table: str | None = None,
        day: str | None = None,
    ) -> None:
        self.dataset, self.version, self.detail = dataset, version, detail
        self.reason, self.table, self.day = reason, table, day
        super().__init__(
            f"`{dataset}` v{version} no longer matches its lockfile: {detail}",
            remedy=Remedy.run(
                "datasets", "rebuild", dataset, f"v{version}", advice="rebuild it from its inputs"
            ),
        )


class ContentTypeError(LakeError, TypeError):
    """A column cannot be part of a content hash, or is not of the kind it was declared."""

    def __init__(self, column: str, found: str, *, allowed: str) -> None:
        self.column, self.found, self.allowed = column, found, allowed
        where = f"column `{column}`" if column else "a column"
        super().__init__(f"{where} is of type `{found}`; the content hash needs {allowed}")


class FeatureSpecError(LakeError, ValueError):
    """A feature spec asks for a column that is not there, or not of the type its role needs.

    `column` names the column it is about; None if it is about none.
    """

    def __init__(self, what: str, *, reason: FeatureSpecReason, column: str | None = None) -> None:
        self.reason, self.column = reason, column
        super().__init__(what)


class ColumnsUnclearError(LakeError):
    """Files without a table version do not agree on which column has a name."""

    def __init__(self, column: str, *, path: str) -> None:
        self.column, self.path = column, path
        super().__init__(
            f"`{column}` is another column in `{path}` than in the plan's last file: it was renamed, "
            "dropped and added again, or is text in one of them only",
            state="nothing of that file was read",
            remedy=Remedy(
                advice="open the version with `lake.dataset(NAME)`, or plan its files with "
                "`FilePlan.of(version)`: both say which column is meant"
            ),
        )


class NullValueError(LakeError):
    """A label, weight or key is null where a model needs a value."""

    def __init__(self, column: str, *, rows: int, path: str) -> None:
        self.column, self.rows, self.path = column, rows, path
        super().__init__(
            f"`{column}` is null in {rows} rows of `{path}`, and labels, weights and keys have no "
            "missing value",
            remedy=Remedy(
                advice="leave those rows out of the dataset, or the column out of the spec"
            ),
        )


class NotAMatrixError(LakeError, ValueError):
    """Lists of a batch do not all have the number of values that a matrix needs."""

    def __init__(self, row: int, *, values: int, width: int) -> None:
        self.row, self.values, self.width = row, values, width
        super().__init__(
            f"row {row} of the batch has a list of {values} values, and the matrix has {width} columns",
            remedy=Remedy(
                advice="declare `length` for the field in its stream's contract, and such records "
                "become dead letters"
            ),
        )


class LoaderStateError(LakeError):
    """A saved loader position does not belong to what this loader reads."""

    def __init__(self, what: str, *, saved: object, found: object) -> None:
        self.what, self.saved, self.found = what, saved, found
        super().__init__(
            f"the saved position belongs to another {what}: `{saved}`, this loader has `{found}`",
            remedy=Remedy(
                advice="make the loader as it was when the position was saved, or start the epoch "
                "again"
            ),
        )


class EpochBrokenOffError(LakeError):
    """An iterator of a loader is asked for more after it was ended in the middle of its epoch."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"this iterator ended before its epoch did: {why}",
            state="the batches it gave are valid",
            remedy=Remedy(
                advice="make a second loader to read other batches at the same time, or iterate the "
                "loader again"
            ),
        )


class LoaderNotSharableError(LakeError, TypeError):
    """A loader is used where copies of it would each give every row."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(
            f"a loader cannot be used {where}: each copy would give every row of the epoch",
            remedy=Remedy(
                advice="the loader decodes with `threads` of its own: iterate it without a DataLoader "
                "or with `num_workers=0`, and give other processes their `rank` and `world_size`"
            ),
        )


class LockfileError(LakeError):
    """A lockfile is damaged, edited, or written by another version of headrace."""

    def __init__(self, source: str, detail: str, *, reason: LockfileReason) -> None:
        self.source, self.detail, self.reason = source, detail, reason
        super().__init__(f"`{source}` cannot be used: {detail}")


class PublishRefusedError(LakeError):
    """The sample table is not in a state that a dataset version may pin.

    `days` lists the days of samples that it is about.
    """

    def __init__(
        self,
        dataset: str,
        detail: str,
        *,
        reason: PublishReason,
        days: tuple[str, ...] = (),
        remedy: Remedy | None = None,
    ) -> None:
        self.dataset, self.detail, self.reason, self.days = dataset, detail, reason, days
        super().__init__(f"`{dataset}` was not published: {detail}", remedy=remedy)


class ModelNotExportedError(LakeError):
    """A model's exported graph does not compute what the model computes; nothing was written."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(f"the model was not exported: {detail}", state="nothing was written")
