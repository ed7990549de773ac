"""The one tree of errors headrace raises on purpose."""

import errno


class LakeError(Exception):
    """Something a user of the lake can act on.

    The message says what happened and what to do; the attributes of a subclass hold the facts.
    `retryable` tells a caller whether running the same thing again can help.
    """

    retryable = False


class SettingsError(LakeError):
    """A setting is missing or has a value that is not allowed."""


class DefinitionError(LakeError):
    """One or more declarations do not say something headrace understands."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class InvalidNameError(LakeError, ValueError):
    """A name is not a plain lower-case identifier."""

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        rule: str = "a lower-case letter or `_`, then up to 62 lower-case letters, digits or `_`",
    ) -> None:
        self.name, self.kind = name, kind
        super().__init__(f"`{name[:80]}` is not a valid {kind}: use {rule}")


class TableNotFoundError(LakeError):
    """The catalog has no such table."""

    def __init__(self, name: str, *, known: tuple[str, ...] = ()) -> None:
        self.name, self.known = name, known
        listed = ", ".join(f"`{other}`" for other in known) or "none yet"
        super().__init__(f"there is no table `{name}`; tables of this lake: {listed}")


class SnapshotNotFoundError(LakeError):
    """The table has no such snapshot, tag or branch."""

    def __init__(self, table: str, wanted: str) -> None:
        self.table, self.wanted = table, wanted
        super().__init__(
            f"`{table}` has no snapshot, tag or branch {wanted}; it may have expired: "
            f"see `headrace tables show {table}`"
        )


class CommitConflictError(LakeError):
    """Another commit removed a file or partition this commit builds on."""

    retryable = True

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(
            f"commit to `{table}` refused: {detail}; nothing was changed, run it again"
        )


class FencedError(LakeError):
    """Another writer of the same stream has committed further than this one believes."""

    def __init__(self, table: str, *, expected: str, found: str) -> None:
        self.table, self.expected, self.found = table, expected, found
        super().__init__(
            f"another writer advanced `{table}`: offsets are {found}, this writer expected "
            f"{expected}; nothing was committed, start again to resume from the table"
        )


class CommitOutcomeUnknownError(LakeError):
    """The catalog did not say whether the commit landed, and could not be asked."""

    retryable = True

    def __init__(self, table: str, snapshot_id: int) -> None:
        self.table, self.snapshot_id = table, snapshot_id
        super().__init__(
            f"it is unknown whether snapshot {snapshot_id} of `{table}` was committed; its files "
            "are kept; run the same command again, it looks for that snapshot first"
        )


class CatalogBusyError(LakeError):
    """The catalog stayed locked longer than the retry budget."""

    retryable = True

    def __init__(self, table: str, *, attempts: int) -> None:
        self.table, self.attempts = table, attempts
        super().__init__(
            f"the catalog was busy through {attempts} attempts to commit to `{table}`; "
            "nothing was changed, run it again"
        )


class DatabaseUnavailableError(LakeError):
    """The catalog's or the registry's database is locked, full or out of reach."""

    retryable = True

    def __init__(self, database: str, detail: str) -> None:
        self.database = database
        super().__init__(
            f"the {database} cannot be used now: {detail}; what was committed before is intact, "
            "run the same command again"
        )


class StorageError(LakeError):
    """A file of a table cannot be written: the disk is full or refuses."""

    retryable = True

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` cannot be written: {detail}; nothing was committed and what was before is "
            "intact: make room or allow writing there, then run the same command again"
        )

    @classmethod
    def of(cls, path: str, error: OSError) -> "StorageError":
        """Name what the operating system said; a full disk has a name of its own."""
        kind = StorageFullError if error.errno in _FULL else cls
        return kind(path, str(error))


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StorageFullError(StorageError):
    """There is no room left for a file of a table."""


class CorruptFileError(LakeError):
    """A file is damaged or is not of the format its name or contract claims."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(f"`{path}` cannot be read: {detail}")


class SourceFileError(LakeError):
    """An input file is not what its stream's contract says; nothing of it was ingested."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` cannot be ingested: {detail}; nothing of it was taken, "
            "replace or move it and run the ingest again"
        )


class SourceChangedError(LakeError):
    """An input file is no longer what was taken from it."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` changed after it was ingested: {detail}; the rows taken are kept, nothing new "
            "was. Put the file back as it was, or give the new one another name"
        )


class ContractError(LakeError):
    """A contract asks a table for a change that is not additive or widening."""

    def __init__(self, table: str, detail: str) -> None:
        self.table, self.detail = table, detail
        super().__init__(f"the contract of `{table}` cannot be applied: {detail}")


class LeakError(LakeError):
    """A sample would use a value that serving could not have known."""

    def __init__(self, sample_set: str, *, rows: int, detail: str) -> None:
        self.sample_set, self.rows = sample_set, rows
        super().__init__(f"{rows} samples of `{sample_set}` use the future: {detail}")


class DuplicateExposureError(LakeError):
    """Two exposures share an id, so no label can be told to belong to one of them."""

    def __init__(self, table: str, *, day: str, example: str, ids: int) -> None:
        self.table, self.day, self.example, self.ids = table, day, example, ids
        super().__init__(
            f"`{table}` has {ids} exposure ids more than once on {day}, for example `{example}`; "
            "no sample of that day was built, remove the duplicates (staging keeps the first "
            "arrival of each id) and build again"
        )


class NullKnownAtError(LakeError):
    """A feature row does not say when it happened or when it was known."""

    def __init__(self, table: str, *, rows: int, columns: tuple[str, ...]) -> None:
        self.table, self.rows, self.columns = table, rows, columns
        named = " or ".join(f"`{name}`" for name in columns)
        super().__init__(
            f"{rows} rows of `{table}` have no {named}, so nobody can say which samples may use "
            "them; nothing was built, fill the column and build again"
        )


class SampleNotFoundError(LakeError):
    """No built sample has this id."""

    def __init__(self, sample_id: str, *, sample_sets: tuple[str, ...]) -> None:
        self.sample_id, self.sample_sets = sample_id, sample_sets
        listed = ", ".join(f"`{name}`" for name in sample_sets) or "none yet"
        super().__init__(
            f"no sample `{sample_id}` in the built sample sets: {listed}; it may be a negative "
            "that was not kept, or its day is not built (`headrace samples build NAME`)"
        )


class VersionExistsError(LakeError):
    """A dataset version is already published with other content."""

    def __init__(self, dataset: str, version: int) -> None:
        self.dataset, self.version = dataset, version
        super().__init__(
            f"`{dataset}` v{version} is already published with other content; "
            f"publish the next version, or see `headrace datasets list`"
        )


class DatasetNotFoundError(LakeError):
    """No such dataset version is published."""

    def __init__(self, dataset: str, version: int, *, known: tuple[str, ...] = ()) -> None:
        self.dataset, self.version = dataset, version
        listed = ", ".join(known) or "none yet"
        super().__init__(f"there is no `{dataset}` v{version}; published: {listed}")


class DatasetChangedError(LakeError):
    """A published dataset version no longer reads as its lockfile says."""

    def __init__(self, dataset: str, version: int, detail: str) -> None:
        self.dataset, self.version = dataset, version
        super().__init__(
            f"`{dataset}` v{version} no longer matches its lockfile: {detail}. "
            f"Rebuild it from its inputs with: headrace datasets rebuild {dataset} v{version}"
        )


class UnsupportedTableError(LakeError):
    """The table uses a feature of the format that this operation does not handle."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"`{table}` is not supported here: {detail}; nothing was changed")


class ContentTypeError(LakeError, TypeError):
    """A column cannot be part of a content hash, or is not of the kind it was declared."""

    def __init__(self, column: str, found: str, *, allowed: str) -> None:
        self.column, self.found = column, found
        where = f"column `{column}`" if column else "a column"
        super().__init__(f"{where} is of type `{found}`; the content hash wants {allowed}")


class FeatureSpecError(LakeError, ValueError):
    """A feature spec asks for a column that is not there, or not of the type its role needs."""


class NullValueError(LakeError):
    """A label, weight or key is null where a model needs a value."""

    def __init__(self, column: str, *, rows: int, path: str) -> None:
        self.column, self.rows, self.path = column, rows, path
        super().__init__(
            f"`{column}` is null in {rows} rows of `{path}`; labels, weights and keys have no "
            "missing value: leave those rows out of the dataset, or the column out of the spec"
        )


class LoaderStateError(LakeError):
    """A saved loader position does not belong to what this loader reads."""

    def __init__(self, what: str, *, saved: object, found: object) -> None:
        self.what, self.saved, self.found = what, saved, found
        super().__init__(
            f"the saved position is of another {what}: `{saved}`, this loader has `{found}`; "
            "make the loader as it was when the position was saved, or start the epoch again"
        )


class LockfileError(LakeError):
    """A lockfile is damaged, edited, or written by another version of headrace."""

    def __init__(self, source: str, detail: str) -> None:
        self.source = source
        super().__init__(f"`{source}` cannot be used: {detail}")


class PublishRefusedError(LakeError):
    """The sample table is not in a state that a dataset version may pin."""

    def __init__(self, dataset: str, detail: str) -> None:
        self.dataset = dataset
        super().__init__(f"`{dataset}` was not published: {detail}")


class OnlineStoreError(LakeError):
    """The online store was written in a format this version does not read."""

    def __init__(self, path: str, *, found: int, allowed: int) -> None:
        self.path, self.found, self.allowed = path, found, allowed
        super().__init__(
            f"the online store `{path}` has format {found}, this version reads {allowed}; "
            "remove the file and publish the views again"
        )


class NotAFeatureViewError(LakeError):
    """The table does not say that it is a feature view, or the view is not published online."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"`{table}` cannot be served: {detail}")


class FolderNotEmptyError(LakeError):
    """A folder that is about to be filled holds something already."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` is not empty; nothing was written, name a new folder or empty this one"
        )


class ModelTypeError(LakeError):
    """A dbt model gives a column whose type a table cannot keep, or not the declared one."""

    def __init__(self, table: str, column: str, detail: str) -> None:
        self.table, self.column = table, column
        super().__init__(f"model `{table}`, column `{column}`: {detail}; nothing was committed")


class ModelRowsError(LakeError):
    """A dbt model gives rows its table cannot take as they are."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"model `{table}`: {detail}; nothing was committed")


class FeatureBuildError(LakeError):
    """dbt could not build or test some models; the others were committed."""

    def __init__(self, failures: tuple[str, ...]) -> None:
        self.failures = failures
        super().__init__("\n".join(failures))


class AlterRefusedError(LakeError):
    """A change of a table's columns or partitioning would lose or misread rows, or fits nothing."""

    def __init__(self, table: str, detail: str) -> None:
        self.table, self.detail = table, detail
        super().__init__(f"`{table}` cannot be altered: {detail}; nothing was changed")


class MergeKeyError(LakeError, ValueError):
    """Rows cannot be matched with those of the table by the key that was given."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"rows cannot be merged into `{table}`: {detail}; nothing was changed")


class DuplicateKeyError(MergeKeyError):
    """Two of the rows to merge have one key: nobody can say which is to stay."""

    def __init__(self, table: str, *, example: str, keys: int) -> None:
        self.example, self.keys = example, keys
        detail = f"{keys} keys occur more than once, for example {example}; keep one row of each"
        super().__init__(table, detail)


class ConditionError(LakeError, ValueError):
    """A condition on rows cannot be read, or does not fit the table."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"the condition on rows of `{table}` cannot be used: {detail}")


class RefExistsError(CommitConflictError):
    """A tag or branch of this name exists already, and names something else."""

    retryable = False

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        LakeError.__init__(
            self,
            f"commit to `{table}` refused: {detail}; nothing was changed, use another name or drop "
            f"that one first: see `headrace tables refs {table}`",
        )


class ProtectedRefError(LakeError):
    """A ref that no one may set or drop by hand."""

    def __init__(self, table: str, ref: str, detail: str) -> None:
        self.table, self.ref = table, ref
        super().__init__(f"`{ref}` of `{table}` was left as it is: {detail}")


class NotAnAncestorError(LakeError):
    """A ref would have to leave the history of what it is to be moved to, or from."""

    def __init__(self, table: str, *, ancestor: str, descendant: str) -> None:
        self.table, self.ancestor, self.descendant = table, ancestor, descendant
        super().__init__(
            f"{ancestor} of `{table}` is no ancestor of {descendant}, so moving would lose commits "
            "that only one of them has; nothing was changed"
        )


class OffsetsUnknownError(LakeError):
    """Nobody can say which source offsets belong to the rows of a snapshot."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(
            f"`{table}` cannot be moved to another snapshot: {detail}, and offsets that do not fit "
            "the rows would lose or double records; nothing was changed. Read that snapshot under a "
            "tag, or write its rows to another table"
        )


class BranchDivergedError(LakeError):
    """A branch cannot be published: `main` has gone another way, and the branch did more than add."""

    def __init__(self, table: str, branch: str, detail: str) -> None:
        self.table, self.branch = table, branch
        super().__init__(
            f"`{branch}` of `{table}` was not published: `main` has commits that it lacks, and "
            f"{detail}; `main` and the branch are as they were. Write it again on a new branch"
        )


class AuditFailedError(LakeError):
    """Rows on a branch did not pass the checks they were written there for."""

    def __init__(self, table: str, branch: str, failures: tuple[str, ...]) -> None:
        self.table, self.branch, self.failures = table, branch, failures
        super().__init__(
            f"`{branch}` of `{table}` was not published: {'; '.join(failures)}. The branch is left "
            f"to be looked at; drop it with `headrace tables branch {table} {branch} --drop --apply`"
        )


class AlreadyPublishedError(LakeError):
    """What a branch or snapshot added is in the table already."""

    def __init__(self, table: str, what: str, *, snapshot_id: int) -> None:
        self.table, self.what, self.snapshot_id = table, what, snapshot_id
        super().__init__(
            f"{what} is in `{table}` already, by snapshot {snapshot_id}; nothing was added again"
        )


class PickRefusedError(LakeError):
    """A snapshot did something that cannot be done again on top of other commits."""

    def __init__(self, table: str, snapshot_id: int, detail: str) -> None:
        self.table, self.snapshot_id = table, snapshot_id
        super().__init__(
            f"snapshot {snapshot_id} of `{table}` was not picked: {detail}; nothing was changed"
        )


class LeaseLapsedError(LakeError):
    """A lease was not renewed in time, or was released."""

    def __init__(self, table: str, lease_id: str, *, snapshot_id: int) -> None:
        self.table, self.lease_id, self.snapshot_id = table, lease_id, snapshot_id
        super().__init__(
            f"lease `{lease_id}` on snapshot {snapshot_id} of `{table}` is over, and what it kept "
            "may be gone; take a new lease, on the head if that snapshot has expired"
        )


class CatalogUnavailableError(LakeError):
    """A catalog of another program cannot be reached or refuses."""

    retryable = True

    def __init__(self, catalog: str, detail: str) -> None:
        self.catalog = catalog
        super().__init__(
            f"the catalog `{catalog}` cannot be used now: {detail}; what was committed before is "
            "intact, see that it runs and lets you in, then run the same command again"
        )


class CleanupTooYoungError(LakeError, ValueError):
    """A clean-up was asked to take files that a running job may still need."""

    def __init__(self, table: str, *, asked_s: float, floor_s: float, setting: str) -> None:
        self.table, self.asked_s, self.floor_s, self.setting = table, asked_s, floor_s, setting
        super().__init__(
            f"files of `{table}` are safe to take once they are {floor_s / 3600:g} h old, not "
            f"{asked_s / 3600:g} h: a running job or an undo may need younger ones; nothing was "
            f"changed. The limit is `{setting}` in lake.toml"
        )


class CleanupRefusedError(LakeError):
    """Nobody can say which files of a table are still needed."""

    def __init__(self, table: str, detail: str) -> None:
        self.table = table
        super().__init__(f"`{table}` was not cleaned up: {detail}; every file is where it was")


class TrashNotFoundError(LakeError):
    """The table's trash has no such run."""

    def __init__(self, table: str, run_id: str, *, known: tuple[str, ...]) -> None:
        self.table, self.run_id, self.known = table, run_id, known
        listed = ", ".join(f"`{run}`" for run in known) or "empty"
        super().__init__(f"the trash of `{table}` has no run `{run_id[:80]}`; it is: {listed}")
