"""Uploads that a killed writer left in a store of objects: no listing shows them, and they take room."""

from dataclasses import dataclass, field

from headrace.errors import CleanupReason, CleanupRefusedError
from headrace.maintenance.cleanup.listing import Listing, is_within
from headrace.storage.folders import Folders, Upload
from headrace.tables.intents import Intents

_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class UnfinishedUpload:
    """An upload that was begun and not completed; `path` is relative to the table's location."""

    path: str
    age_s: float
    upload: Upload = field(repr=False)


def unfinished_uploads(
    listing: Listing, writes: Intents, *, table: str, now_ns: int, cutoff_ns: int
) -> tuple[UnfinishedUpload, ...]:
    """Find the old uploads below a table's own folders that belong to no running writer.

    Raises:
        CleanupRefusedError: If the store does not list them.

    """
    own = listing.data_folders | listing.metadata_folders
    try:
        found = listing.store.uploads(listing.root)
    except OSError as error:
        detail, reason = f"its uploads cannot be listed: {error}", CleanupReason.UPLOADS_UNKNOWN
        raise CleanupRefusedError(table, detail, reason=reason, path=listing.root) from error
    return tuple(
        UnfinishedUpload(
            path=each.location.removeprefix(f"{listing.root}/"),
            age_s=(now_ns - each.begun_ns) / _NS,
            upload=each,
        )
        for each in sorted(found, key=lambda each: (each.location, each.upload_id))
        if each.begun_ns <= cutoff_ns
        and any(is_within(each.location, folder) for folder in own)
        and not writes.protects(each.location.rpartition("/")[2])
    )


def give_up(
    store: Folders, planned: tuple[UnfinishedUpload, ...], found: tuple[UnfinishedUpload, ...]
) -> int:
    """Free what the planned uploads hold that are still found; return how many.

    Raises:
        StorageError: If one cannot be given up; those before are.

    """
    still = {each.upload.upload_id for each in found}
    going = [each.upload for each in planned if each.upload.upload_id in still]
    for upload in going:
        store.abort(upload)
    return len(going)
