"""Errors of a lake as a whole: whether it is there, complete, and this one."""

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.reasons import MoveReason
from headrace.errors.remedy import Remedy

_MOVES = {
    MoveReason.SAME_LAKE: (
        "both profiles have the same warehouse or the same catalog",
        "name another profile, or let this one have places of its own",
    ),
    MoveReason.OTHER_CATALOG: (
        "the catalog of one profile belongs to another program",
        "register the tables in that catalog with its own tools",
    ),
    MoveReason.OUTSIDE_WAREHOUSE: (
        "`{table}` lies outside of the warehouse",
        "move that table by itself, or drop it from the catalog",
    ),
    MoveReason.TABLE_ONLY_THERE: (
        "`{table}` is there and not here, so the lake there is another one",
        "name a profile with an empty lake",
    ),
    MoveReason.CHANGED_THERE: (
        "`{table}` has commits there that it has not here",
        "go on with the lake there, or name a profile with an empty lake",
    ),
    MoveReason.CHANGED_MEANWHILE: (
        "`{table}` was changed while the lake was moved",
        "stop what writes to it, then run the same command again",
    ),
}


class LakeNotFoundError(LakeError):
    """The state folder holds no lake, and what was asked for makes none."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        super().__init__(
            f"there is no lake in `{state_dir}`",
            state="nothing was created",
            remedy=Remedy.run(
                "ingest",
                "run",
                advice="if it lies elsewhere, name its folder by `state_dir` in lake.toml or by "
                "HEADRACE_STATE_DIR; to create one there",
            ),
        )


class LakeIncompleteError(LakeError):
    """A database of the lake is missing while its warehouse is full of files."""

    def __init__(self, missing: str, *, warehouse: str) -> None:
        self.missing, self.warehouse = missing, warehouse
        super().__init__(
            f"`{missing}` is missing or empty, but `{warehouse}` holds files of tables: a new one "
            "would make second tables in the folders of the first",
            state="nothing was created",
            remedy=Remedy(
                advice="put a backup of it there",
                otherwise=(
                    Remedy.run(
                        "lake", "recover", advice="or see what can be restored from the files"
                    ),
                ),
            ),
        )


class TablesElsewhereError(LakeError):
    """Tables of the catalog lie outside of the lake's own warehouse, as in a copied lake."""

    def __init__(self, *, warehouse: str, tables: int, example: str, location: str) -> None:
        self.warehouse, self.tables = warehouse, tables
        self.example, self.location = example, location
        more = f" and {tables - 1:,} other tables" if tables > 1 else ""
        super().__init__(
            f"`{example}`{more} of this lake lie elsewhere, at `{location}`, not below "
            f"`{warehouse}`: commits of a copied lake would go into the original",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="to make the copied files tables of this lake",
                command=("lake", "relocate"),
                otherwise=(
                    Remedy(
                        advice="if they are meant to lie there, list the place under "
                        "`tables_also_in` in lake.toml"
                    ),
                ),
            ),
        )


class LakeMoveError(LakeError):
    """A lake is not moved to where the profile `to` has its own; `table` is in the way, if one is."""

    def __init__(self, to: str, *, reason: MoveReason, table: str | None = None) -> None:
        self.to, self.reason, self.table = to, reason, table
        self.retryable = reason is MoveReason.CHANGED_MEANWHILE
        said, advice = _MOVES[reason]
        super().__init__(
            f"the lake is not moved to the profile `{to}`: {said.format(table=table)}",
            state="both lakes are as they were, but for tables that were moved before",
            remedy=Remedy(advice=advice),
        )


class LakeOnServersError(LakeError):
    """A database of the lake is on a server, where it is not made from files."""

    def __init__(self, address: str, *, what: str) -> None:
        self.address, self.what = address, what
        super().__init__(
            f"`headrace lake {what}` makes database files, and this lake is in `{address}`",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="restore a backup of that database: see `Backup and restore` in "
                "docs/production.md"
            ),
        )


class RegistryNewerError(LakeError):
    """A newer version of headrace has changed the schema of the registry."""

    def __init__(self, registry: str, *, found: int, known: int) -> None:
        self.registry, self.found, self.known = registry, found, known
        super().__init__(
            f"the registry `{registry}` has schema version {found}, and this version of headrace "
            f"knows only up to {known}",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="use the version of headrace that other processes of this lake use, or a newer "
                "one"
            ),
        )


class NotARegistryError(LakeError):
    """The database named as the registry has tables of another program."""

    def __init__(self, registry: str, *, table: str) -> None:
        self.registry, self.table = registry, table
        super().__init__(
            f"`{registry}` has a table `{table}` that is not one of a registry's",
            state=NOTHING_CHANGED,
            remedy=Remedy(advice="give the registry a database or schema of its own"),
        )


class RegistryInUseError(LakeError):
    """The database named as the registry belongs to another lake."""

    def __init__(self, registry: str, *, warehouse: str, owner: str) -> None:
        self.registry, self.warehouse, self.owner = registry, warehouse, owner
        super().__init__(
            f"the registry `{registry}` belongs to the lake of `{owner}`, not of `{warehouse}`: "
            "commits of both would be mixed",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="give each lake a database or schema of its own, by `registry_uri` in "
                "lake.toml or HEADRACE_REGISTRY_URI"
            ),
        )
