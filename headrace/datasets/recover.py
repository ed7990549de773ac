"""What a lost catalog or registry can be made again from: the warehouse and the lockfiles."""

from dataclasses import dataclass
from pathlib import Path

from headrace.config import Settings
from headrace.datasets.lockfile import Lockfile
from headrace.datasets.versions import PUBLISHED, documents_of, lockfile_path
from headrace.errors import LakeNotFoundError, LockfileError
from headrace.tables.catalogs import open
from headrace.tables.recover import Search, find_tables, recover_catalog, recovered_registry


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What is missing and what there is to make it from.

    `search` is None if the catalog is there; `locks` and `damaged` are lockfiles, which matter only
    if the registry is not.
    """

    missing: tuple[Path, ...]
    search: Search | None
    locks: tuple[Lockfile, ...]
    damaged: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing)


def plan_recovery(settings: Settings) -> Recovery:
    """Look at what a lake has lost; nothing is changed.

    Raises:
        LakeNotFoundError: If there is no lake: no database, and no file of a table either.
        LakeOnServersError: If what may be missing is on a server.

    """
    open.refuse_servers(settings, what="recover")
    missing = tuple(open.lost(settings))
    search = find_tables(settings) if settings.catalog_file in missing else None
    if len(missing) == 2 and search is not None and not search:
        raise LakeNotFoundError(str(settings.state_dir))
    locks: list[Lockfile] = []
    damaged: list[str] = []
    store = documents_of(settings)
    for each in sorted(store.list(settings.datasets_uri), key=lambda entry: entry.name):
        if each.name.endswith(".lock.json"):
            try:
                text = store.read(each.location).decode()
                locks.append(Lockfile.from_json(text, source=each.location))
            except (OSError, UnicodeDecodeError, LockfileError):
                damaged.append(each.name)
    return Recovery(
        missing=missing,
        search=search,
        locks=tuple(locks),
        damaged=tuple(damaged),
    )


def apply_recovery(settings: Settings, plan: Recovery) -> None:
    """Make the missing databases; each appears whole or not at all, and none that is there changes.

    Raises:
        StorageError: If one cannot be written.

    """
    with open.turn_to_open(settings):
        missing = open.lost(settings)
        if plan.search is not None and settings.catalog_file in missing:
            recover_catalog(settings, plan.search.tables)
        if settings.registry_file in missing:
            with recovered_registry(settings) as registry:
                store = documents_of(settings)
                for lock in plan.locks:
                    path = lockfile_path(settings, lock.name, lock.version)
                    text = store.read(path).decode()
                    registry.claim_dataset(lock.name, lock.version, lockfile=text)
                    registry.settle_dataset(lock.name, lock.version, state=PUBLISHED)
