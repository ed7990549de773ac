"""Errors on the way from sources to samples and to serving."""

from collections.abc import Mapping
from typing import Self

from headrace.errors.base import NOTHING_CHANGED, NOTHING_COMMITTED, LakeError
from headrace.errors.reasons import ColumnReason
from headrace.errors.remedy import Remedy


class SourceError(LakeError):
    """A stream's source cannot be read, or is not what its contract or its table says."""


class SourceFileError(SourceError):
    """An input file is not what its stream's contract says; nothing of it was ingested."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"`{path}` cannot be ingested: {detail}",
            state="nothing of it was ingested",
            remedy=Remedy.run("ingest", "run", advice="replace or move it, then"),
        )


class SourceChangedError(SourceError):
    """An input file is no longer what was taken from it."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"`{path}` changed after it was ingested: {detail}",
            state="the rows ingested before are kept, and nothing new was ingested",
            remedy=Remedy(advice="put the file back as it was, or give the new one another name"),
        )


class DraftError(SourceError):
    """No contract can be drafted from some files."""

    def __init__(self, path: str | None, *, detail: str) -> None:
        self.path, self.detail = path, detail
        about = f" from `{path}`" if path else ""
        super().__init__(f"no contract can be drafted{about}: {detail}")


class ResetRefusedError(LakeError):
    """A stream cannot be reset, as its table holds what another stream has taken."""

    def __init__(self, stream: str, *, table: str, other: str) -> None:
        self.stream, self.table, self.other = stream, table, other
        super().__init__(
            f"`{table}` holds rows of stream `{other}` too, which a reset of `{stream}` would remove",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="declare another `table` for one of them"),
        )


class ResetUnfinishedError(LakeError):
    """A reset of a stream was begun: its tables are not of one moment, or not known record by record."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"a reset of `{stream}` was begun and is not complete",
            state="nothing was ingested",
            remedy=Remedy.run(
                "ingest",
                "reset",
                stream,
                advice="see what is left to remove, and complete it with `--apply`",
            ),
        )


class RetryUnfinishedError(LakeError):
    """A retry of a file was interrupted: rows and dead letters of it are not of one moment."""

    def __init__(self, stream: str, *, path: str) -> None:
        self.stream, self.path = stream, path
        super().__init__(
            f"a retry of `{path}` of `{stream}` was interrupted before it was complete",
            state="nothing was ingested",
            remedy=Remedy.run("ingest", "retry", stream, path, "--apply", advice="complete it"),
        )


class WholeSnapshotRetryError(SourceError):
    """A whole snapshot that was taken is to be taken again, though later ones, and removals, rest on it."""

    def __init__(self, stream: str, *, path: str) -> None:
        self.stream, self.path = stream, path
        super().__init__(
            f"`{path}` is a whole snapshot of `{stream}` that was taken: what it lacked was removed by "
            "it, so it cannot be taken back alone",
            state=NOTHING_CHANGED,
            remedy=Remedy.run("ingest", "reset", stream, advice="take all snapshots again"),
        )


class NoSuchSourceFileError(SourceError):
    """A file is named that the stream does not have, and of which nothing was taken."""

    def __init__(self, stream: str, *, path: str, near: str | None) -> None:
        self.stream, self.path, self.near = stream, path, near
        hint = "" if near is None else f"; did you mean `{near}`?"
        super().__init__(
            f"`{stream}` has no file `{path}`{hint}",
            state=NOTHING_CHANGED,
            remedy=Remedy.run("ingest", "status", stream, advice="see its files"),
        )


class UnknownSourceError(SourceError):
    """A contract declares a kind of source that this version does not have."""

    def __init__(self, stream: str, *, kind: str) -> None:
        self.stream, self.kind = stream, kind
        super().__init__(
            f"the source of `{stream}` is of a kind that this version does not read (`{kind}`)",
            state="nothing was ingested",
            remedy=Remedy(
                advice="declare `source: {files: …}`, or install a version that reads it"
            ),
        )


class SourceOrderError(SourceError):
    """A source returned a record at an offset that is taken already, or in the wrong order."""

    def __init__(self, source: str, *, partition: int, expected: int, found: int) -> None:
        self.source, self.partition, self.expected, self.found = source, partition, expected, found
        super().__init__(
            f"`{source}`, partition {partition}: offset {found} was read where {expected} or a later "
            "one was due",
            state="nothing of this batch was committed",
            remedy=Remedy.run(
                "ingest",
                "run",
                advice="if the error returns, the source's reader is at fault; continue from the table",
            ),
        )


class UnexplainedGapError(SourceError):
    """A source left out offsets and did not say why, or says that some are empty which are not."""

    retryable = True

    def __init__(self, source: str, *, partition: int, first: int, end: int) -> None:
        self.source, self.partition, self.first, self.end = source, partition, first, end
        super().__init__(
            f"`{source}`, partition {partition}: the source does not account for the offsets {first} "
            f"to {end - 1}",
            state="nothing of this batch was committed",
            remedy=Remedy.run("ingest", "run", advice="a new run reads them again"),
        )


class IngestAuditError(LakeError):
    """Records of a stream are missing from its tables, or are there twice."""

    def __init__(self, stream: str, *, findings: tuple[str, ...]) -> None:
        self.stream, self.findings = stream, findings
        super().__init__(
            f"rows and dead letters of `{stream}` are not what was consumed: {'; '.join(findings)}",
            remedy=Remedy(
                advice="rows that were deleted on purpose are missing too; otherwise compare snapshots "
                "of both tables with `headrace tables show`, and roll back"
            ),
        )


class MetricsPortError(LakeError):
    """Metrics cannot be served on a port."""

    def __init__(self, port: int, detail: str) -> None:
        self.port, self.detail = port, detail
        super().__init__(
            f"metrics cannot be served on port {port} of 127.0.0.1: {detail}",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="name another port, or 0 for a free one"),
        )


class SourceStalledError(SourceError):
    """A source returned nothing for a long time, though its end was not reached."""

    retryable = True

    def __init__(self, stream: str, *, stalled_s: float) -> None:
        self.stream, self.stalled_s = stream, stalled_s
        super().__init__(
            f"the source of `{stream}` returned nothing for {stalled_s:g} s, though it has more",
            state="what was read before is committed",
            remedy=Remedy.run(
                "ingest", "run", stream, advice="check that the source can be reached, then"
            ),
        )


class SourceLedgerError(SourceError):
    """The registry has lost which sources a stream had taken."""

    def __init__(self, seal: int) -> None:
        self.seal = seal
        super().__init__(
            f"the registry does not have all sources that were ingested up to seal {seal}, which the "
            "table names, so files would be read twice",
            state="nothing was ingested",
            remedy=Remedy(
                advice="restore the `registry.db` that belongs to this catalog, or roll the table "
                "back to before that seal"
            ),
        )


class UnknownFieldsError(SourceError):
    """A source has fields that its stream's contract does not declare, and refuses."""

    def __init__(self, stream: str, *, path: str, fields: tuple[str, ...], named: str) -> None:
        self.stream, self.path, self.fields = stream, path, fields
        super().__init__(
            f"`{path}` has fields that the contract of `{stream}` does not declare: {named}",
            state="nothing new of it was ingested",
            remedy=Remedy(
                advice="declare them or correct the file; `unknown_fields: ignore` leaves them out"
            ),
        )


class RecordsRefusedError(LakeError):
    """So many records of one run were refused that the contract or the producer must be wrong."""

    def __init__(self, stream: str, *, records: int, reasons: Mapping[str, int]) -> None:
        self.stream, self.records, self.reasons = stream, records, reasons
        self.refused = sum(reasons.values())
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        super().__init__(
            f"{self.refused:,} of {records:,} records that `{stream}` read in this run were refused: "
            f"{listed}",
            state="they are kept in `dead_letters.records` and are not read again",
            remedy=Remedy(
                advice="correct the contract or the producer; `refused_share_limit` in the contract "
                "sets how many may be refused",
                otherwise=(
                    Remedy.run("dead-letters", "replay", stream, advice="take them again"),
                    Remedy.run(
                        "ingest", "reset", stream, advice="or take the stream back to its beginning"
                    ),
                ),
            ),
        )

    @classmethod
    def lately(cls, stream: str, *, records: int, refused: int) -> "RecordsRefusedError":
        """Return the error of a stream that is followed: of its newest records too many were refused."""
        error = cls(stream, records=records, reasons={"of the newest records": refused})
        error.message = f"{refused:,} of the newest {records:,} records of `{stream}` were refused; {error.state}"
        error.remedy = Remedy.run(
            "ingest",
            "acknowledge",
            stream,
            advice="look at them with `headrace dead-letters list`, correct the contract, the producer "
            "or this host's clock, then",
        )
        return error


class ContractError(LakeError):
    """A contract asks a table for a change that is not additive or widening.

    `column` names the column it is about; None if it is about none.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: ColumnReason,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason, self.column = table, detail, reason, column
        super().__init__(f"the contract of `{table}` cannot be applied: {detail}", remedy=remedy)

    def of_stream(self, name: str) -> Self:
        """Advise what helps a stream, if nothing special does; returns itself."""
        advice = "declare it as the table has it, or begin the stream again"
        self.remedy = self.remedy or Remedy.run("ingest", "reset", name, advice=advice)
        return self


class LeakError(LakeError):
    """A sample would use a value that serving could not have known."""

    def __init__(self, sample_set: str, *, rows: int, detail: str) -> None:
        self.sample_set, self.rows, self.detail = sample_set, rows, detail
        super().__init__(
            f"{rows} samples of `{sample_set}` use the future: {detail}", state=NOTHING_COMMITTED
        )


class DuplicateExposureError(LakeError):
    """Two exposures share an id, so labels cannot be assigned to one of them."""

    def __init__(self, table: str, *, day: str, example: str, ids: int) -> None:
        self.table, self.day, self.example, self.ids = table, day, example, ids
        super().__init__(
            f"`{table}` has {ids} exposure ids more than once on {day}, for example `{example}`",
            state="no sample of that day was built",
            remedy=Remedy(
                advice="make the id the `key` of its stream, of which the first arrival counts, or "
                "keep one row of each id in a staging model, and build again"
            ),
        )


class NullKnownAtError(LakeError):
    """A feature row does not say when it happened or when it was known."""

    def __init__(self, table: str, *, rows: int, columns: tuple[str, ...]) -> None:
        self.table, self.rows, self.columns = table, rows, columns
        named = " or ".join(f"`{name}`" for name in columns)
        super().__init__(
            f"{rows} rows of `{table}` have no {named}, so it is unknown which samples may use them",
            state="nothing was built",
            remedy=Remedy(advice="fill the column and build again"),
        )


class FolderNotEmptyError(LakeError):
    """A folder that is about to be filled holds something already."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` is not empty",
            state="nothing was written",
            remedy=Remedy(advice="name a new folder or empty this one"),
        )


class ModelTypeError(LakeError):
    """A dbt model gives a column whose type a table cannot keep, or not the declared one."""

    def __init__(self, table: str, column: str, detail: str) -> None:
        self.table, self.column, self.detail = table, column, detail
        super().__init__(f"model `{table}`, column `{column}`: {detail}", state=NOTHING_COMMITTED)


class ModelRowsError(LakeError):
    """A dbt model gives rows its table cannot take as they are."""

    def __init__(self, table: str, detail: str) -> None:
        self.table, self.detail = table, detail
        super().__init__(f"model `{table}`: {detail}", state=NOTHING_COMMITTED)


class ModelValueError(LakeError):
    """A dbt model gives a value that a table cannot keep."""

    def __init__(self, table: str, column: str, value: str, *, row: str) -> None:
        self.table, self.column, self.value, self.row = table, column, value, row
        where = f" (row {row})" if row else ""
        super().__init__(
            f"model `{table}`, column `{column}`: a table cannot keep the time {value}{where}",
            state=NOTHING_COMMITTED,
            remedy=Remedy(advice="give null or a time of the years 1 to 9999"),
        )


class ModelColumnsError(LakeError):
    """A dbt model gives other columns than its table has, and says that this is an error."""

    def __init__(
        self,
        table: str,
        *,
        added: tuple[str, ...],
        removed: tuple[str, ...],
        retyped: tuple[str, ...],
    ) -> None:
        self.table, self.added, self.removed, self.retyped = table, added, removed, retyped
        parts = (("new", added), ("no longer given", removed), ("of another type", retyped))
        said = "; ".join(
            f"{what}: {', '.join(f'`{name}`' for name in names)}" for what, names in parts if names
        )
        super().__init__(
            f"model `{table}` has `on_schema_change: fail` and other columns than its table "
            f"({said})",
            state=NOTHING_COMMITTED,
            remedy=Remedy(
                advice="change the model, or let `dbt run --full-refresh` give the table the model's "
                "columns"
            ),
        )


class ModelNotCommittedError(LakeError):
    """A dbt model would be built outside of the lake, where its rows are lost."""

    def __init__(self, model: str, detail: str, *, remedy: Remedy | None = None) -> None:
        self.model, self.detail = model, detail
        super().__init__(
            f"`{model}` was not built: {detail}", state=NOTHING_COMMITTED, remedy=remedy
        )


class FeatureBuildError(LakeError):
    """dbt could not build or test some models; the others were committed."""

    def __init__(self, failures: tuple[str, ...]) -> None:
        self.failures = failures
        super().__init__("\n".join(failures))


class QueryCancelledError(LakeError):
    """A statement of a query engine was interrupted by `cancel`."""

    def __init__(self) -> None:
        super().__init__("the query was cancelled before it ended", state=NOTHING_COMMITTED)
