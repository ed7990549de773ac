"""Errors of tables of other formats: what they hold that is not read here, and what they lost."""

import datetime as dt

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.reasons import PaimonReason
from headrace.errors.remedy import Remedy

_TARGET_STANDS = "what was imported before stays, and nothing else was committed"


class PaimonMissingError(LakeError):
    """The client of Paimon is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package
        super().__init__(
            f"tables of Paimon cannot be used: `{package}` is not installed",
            remedy=Remedy(
                advice="install `headrace[paimon]` with `uv pip install --override "
                "requirements/overrides.txt`"
            ),
        )


class PaimonWarehouseError(LakeError):
    """The warehouse of Paimon tables is not named, not there, or cannot be read."""

    def __init__(self, warehouse: str, detail: str) -> None:
        self.warehouse, self.detail = warehouse, detail
        named = f"the Paimon warehouse `{warehouse}`" if warehouse else "a Paimon warehouse"
        store = "; if that is right, check that its store runs and that the keys may use it"
        super().__init__(
            f"{named} cannot be used: {detail}",
            remedy=Remedy(
                advice="name it by `paimon_warehouse` in lake.toml, HEADRACE_PAIMON_WAREHOUSE, or "
                f"`--warehouse`{store if warehouse else ''}"
            ),
        )


class PaimonTableNotFoundError(LakeError):
    """The Paimon warehouse has no such table."""

    def __init__(self, name: str, *, known: tuple[str, ...] = ()) -> None:
        self.name, self.known = name, known
        listed = ", ".join(f"`{other}`" for other in known) or "none"
        super().__init__(
            f"there is no Paimon table `{name}`; tables of this warehouse: {listed}",
            remedy=Remedy.run("paimon", "tables", advice="see which there are"),
        )


class PaimonUnsupportedError(LakeError):
    """A Paimon table has what the installed client is not known to read as Flink does.

    `option` names the table option, and `column` the column, where it is one.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: PaimonReason,
        option: str | None = None,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason = table, detail, reason
        self.option, self.column = option, column
        super().__init__(
            f"Paimon table `{table}` is not read here: {detail}",
            state=NOTHING_CHANGED,
            remedy=remedy,
        )


class PaimonSnapshotNotFoundError(LakeError):
    """A Paimon table has no such snapshot or tag."""

    def __init__(self, table: str, wanted: str) -> None:
        self.table, self.wanted = table, wanted
        super().__init__(
            f"Paimon table `{table}` has no {wanted}; it may have expired",
            remedy=Remedy.run("paimon", "show", table, advice="see which there are"),
        )


class PaimonTagExistsError(LakeError):
    """A tag of a Paimon table names another snapshot already."""

    def __init__(self, table: str, tag: str, *, snapshot_id: int) -> None:
        self.table, self.tag, self.snapshot_id = table, tag, snapshot_id
        super().__init__(
            f"Paimon table `{table}` has a tag `{tag}` already, of snapshot {snapshot_id}",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="choose another name, or drop that tag"),
        )


class PaimonSnapshotsExpiredError(LakeError):
    """Snapshots that an import had not read yet are gone: their changes are lost to it.

    `first_snapshot_id` and `last_snapshot_id` are the missing range, both included.
    """

    def __init__(
        self, table: str, target: str, *, first_snapshot_id: int, last_snapshot_id: int
    ) -> None:
        self.table, self.target = table, target
        self.first_snapshot_id, self.last_snapshot_id = first_snapshot_id, last_snapshot_id
        super().__init__(
            f"snapshots {first_snapshot_id} to {last_snapshot_id} of Paimon table `{table}` expired "
            f"before `{target}` took their changes",
            state=_TARGET_STANDS,
            remedy=Remedy.run(
                "paimon",
                "import",
                table,
                "--to",
                f"{target}_2",
                advice="begin again in another table, and import more often or with `--hold`",
            ),
        )


class PaimonHistoryChangedError(LakeError):
    """The snapshot that an import took last is another one now: the table was rolled back or replaced.

    `taken_at_ms` is when the snapshot that was taken was committed, `found_at_ms` when the present
    one was; None if there is none.
    """

    def __init__(
        self,
        table: str,
        target: str,
        *,
        snapshot_id: int,
        taken_at_ms: int,
        found_at_ms: int | None,
    ) -> None:
        self.table, self.target, self.snapshot_id = table, target, snapshot_id
        self.taken_at_ms, self.found_at_ms = taken_at_ms, found_at_ms
        now = "is not there" if found_at_ms is None else f"is of {_utc(found_at_ms)}"
        super().__init__(
            f"`{target}` took snapshot {snapshot_id} of Paimon table `{table}`, of {_utc(taken_at_ms)}, "
            f"and snapshot {snapshot_id} {now} now: the table was rolled back or created again",
            state=_TARGET_STANDS,
            remedy=Remedy.run(
                "paimon", "import", table, "--to", f"{target}_2", advice="import into another table"
            ),
        )


class PaimonTargetError(LakeError):
    """A table is not one that this import or export may continue."""

    def __init__(self, target: str, detail: str) -> None:
        self.target, self.detail = target, detail
        super().__init__(
            f"`{target}` cannot be written: {detail}",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="choose another table"),
        )


class PaimonTableDiffersError(LakeError):
    """A Paimon table that is there is not the one that is declared; `differences` says in what."""

    def __init__(self, table: str, *, subject: str, differences: tuple[str, ...]) -> None:
        self.table, self.subject, self.differences = table, subject, differences
        super().__init__(
            f"Paimon table `{table}` is not the one that is declared: {'; '.join(differences)}",
            state=NOTHING_CHANGED,
            remedy=begun_anew(table, subject),
        )


class PaimonTableStaleError(LakeError):
    """A Paimon table has rows that its stream's table has not, or lacks some: no job may go on with it."""

    def __init__(self, table: str, detail: str, *, subject: str) -> None:
        self.table, self.detail, self.subject = table, detail, subject
        super().__init__(
            f"no job goes on with Paimon table `{table}`: {detail}",
            state=NOTHING_CHANGED,
            remedy=begun_anew(table, subject),
        )


class PaimonOtherLakeError(LakeError):
    """A Paimon table keeps rows of another table than that of the stream: of another lake, or of one dropped.

    `found` and `expected` are the uuids of the two tables; `expected` is empty if there is none here.
    """

    def __init__(self, table: str, *, stream_table: str, found: str, expected: str) -> None:
        self.table, self.stream_table = table, stream_table
        self.found, self.expected = found, expected
        here = f"is `{expected}`" if expected else "has no rows yet"
        super().__init__(
            f"Paimon table `{table}` belongs to another lake, or to a table that was dropped: it keeps rows "
            f"of the table with the uuid `{found}`, and `{stream_table}` of this lake {here}",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="name another table in `keyed`, or another warehouse by `paimon_warehouse`; drop it by "
                f"Flink's SQL, `drop table {table}`, if no other lake has it"
            ),
        )


class KeyedRowsError(LakeError):
    """Rows of a table are not removed while a job keeps the newest of them in a Paimon table too."""

    def __init__(self, table: str, *, subject: str) -> None:
        self.table, self.subject = table, subject
        super().__init__(
            f"rows of `{table}` are not removed: the job of `{subject}` follows it, and its table would "
            "keep them",
            state=NOTHING_CHANGED,
            remedy=Remedy.run(
                "flink",
                "handover",
                subject,
                "--to",
                "headrace",
                advice="take the keyed table from Flink, then do this again; drop that table before its job "
                "begins anew",
            ),
        )


class PaimonReadError(LakeError):
    """The client of Paimon failed to read or write a table."""

    def __init__(self, table: str, detail: str) -> None:
        self.table, self.detail = table, detail
        super().__init__(
            f"Paimon table `{table}` cannot be used: {detail}",
            state=_TARGET_STANDS,
            remedy=Remedy(advice="look whether its files are there and whole, then run it again"),
        )


def begun_anew(table: str, subject: str) -> Remedy:
    """Advise another job of a keyed table, which begins with no such table."""
    return Remedy.run(
        "flink",
        "handover",
        subject,
        "--to",
        "flink",
        advice=f"drop it by Flink's SQL, `drop table {table}`, or name another in `keyed`; then begin with "
        "all rows",
    )


def _utc(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
