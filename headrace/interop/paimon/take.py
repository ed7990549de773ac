"""Imports a Paimon table into the lake: incrementally and exactly once, or its state as a whole.

The token of the snapshot that was taken last lies in a property that is written by the commit of its
rows, so a killed importer goes on where its table is. Offsets fence it: of two importers of one table
one is refused.
"""

from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.identifiers import TableName
from headrace.interop.paimon.importer import Importer, ImportResult
from headrace.interop.paimon.plan import Begin
from headrace.interop.paimon.rows import Shape, TakenAs
from headrace.interop.paimon.table import PaimonTable
from headrace.tables.lake import OpenLake

__all__ = ["ROWS_PER_COMMIT", "ImportResult", "take_changes", "take_features", "take_state"]

ROWS_PER_COMMIT = 1_000_000


def take_changes(
    lake: OpenLake,
    table: PaimonTable,
    target: TableName,
    *,
    begin: Begin = Begin.OLDEST,
    hold: bool = False,
    rows_per_commit: int = ROWS_PER_COMMIT,
) -> ImportResult:
    """Append every change that the target has not, with its kind and row coordinates, exactly once.

    A commit takes whole snapshots, until it has `rows_per_commit` rows. With `hold` Paimon's own
    expiry keeps what is not yet taken.

    Raises:
        PaimonUnsupportedError: If the table or a snapshot has what is not known to be read right.
        PaimonSnapshotsExpiredError, PaimonHistoryChangedError: If what follows on the target is gone.
        PaimonTargetError: If the target holds something else.
        FencedError: If another importer was faster; nothing of this commit is visible.

    """
    shape = Shape(taken_as=TakenAs.CHANGES, definition=table.definition)
    importer = Importer(lake, table, target, shape, partition_by=(), properties={})
    return importer.run(begin=begin, hold=hold, rows_per_commit=rows_per_commit)


def take_features(
    lake: OpenLake,
    table: PaimonTable,
    view: FeatureView,
    *,
    event_time: str | None = None,
    begin: Begin = Begin.OLDEST,
    hold: bool = False,
    rows_per_commit: int = ROWS_PER_COMMIT,
) -> ImportResult:
    """Append to a feature view the state of every key that changed, exactly once.

    A value is known from the commit of its snapshot on, and happened then unless `event_time` names
    a column. A deleted key has null values from then on. Raises as `take_changes`.
    """
    shape = Shape(taken_as=TakenAs.FEATURES, definition=table.definition, event_time=event_time)
    properties = {FEATURE_VIEW_PROPERTY: view.to_property()}
    days = (f"day({view.event_time})",)
    importer = Importer(lake, table, view.view, shape, partition_by=days, properties=properties)
    return importer.run(begin=begin, hold=hold, rows_per_commit=rows_per_commit)


def take_state(
    lake: OpenLake, table: PaimonTable, target: TableName, *, tag: str | None = None
) -> ImportResult:
    """Replace the rows of the target by those of the newest snapshot, or of a tag; one commit.

    With `tag` the new snapshot of the target gets the same tag. Does nothing where the target has
    that snapshot already.

    Raises:
        PaimonSnapshotNotFoundError: If there is no such tag, or no snapshot.
        PaimonUnsupportedError, PaimonTargetError, FencedError: See `take_changes`.

    """
    shape = Shape(taken_as=TakenAs.STATE, definition=table.definition)
    importer = Importer(lake, table, target, shape, partition_by=(), properties={})
    return importer.replace(tag=tag)
