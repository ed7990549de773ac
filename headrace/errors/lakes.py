"""Errors of a lake as a whole: whether it is there, complete, and this one."""

from headrace.errors.base import LakeError


class LakeNotFoundError(LakeError):
    """The state folder holds no lake, and what was asked for makes none."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        super().__init__(
            f"there is no lake in `{state_dir}`; nothing was created. `headrace ingest run` makes "
            "one there; if it lies elsewhere, say where by `state_dir` in lake.toml or "
            "HEADRACE_STATE_DIR"
        )


class LakeIncompleteError(LakeError):
    """A database of the lake is missing while its warehouse is full of files."""

    def __init__(self, missing: str, *, warehouse: str) -> None:
        self.missing, self.warehouse = missing, warehouse
        super().__init__(
            f"`{missing}` is missing or empty, but `{warehouse}` holds files of tables: a new one "
            "would make second tables in the folders of the first; nothing was created. Put a "
            "backup of it there, or see what `headrace lake recover` can restore from the files"
        )


class TablesElsewhereError(LakeError):
    """Tables of the catalog lie outside of the lake's own warehouse, as in a copied lake."""

    def __init__(self, *, warehouse: str, tables: int, example: str, location: str) -> None:
        self.warehouse, self.tables = warehouse, tables
        self.example, self.location = example, location
        more = f" and {tables - 1:,} other tables" if tables > 1 else ""
        super().__init__(
            f"`{example}`{more} of this lake lie elsewhere, at `{location}`, not below "
            f"`{warehouse}`: commits of a copied lake would go into the original. Nothing was "
            "changed. `headrace lake relocate` makes the copied files tables of this lake; if they "
            "are meant to lie there, say so by `tables_also_in` in lake.toml"
        )


class RegistryNewerError(LakeError):
    """A newer version of headrace has changed the schema of the registry."""

    def __init__(self, registry: str, *, found: int, known: int) -> None:
        self.registry, self.found, self.known = registry, found, known
        super().__init__(
            f"the registry `{registry}` has schema version {found}, and this version of headrace "
            f"knows only up to {known}; nothing was changed. Use the version of headrace that "
            "other processes of this lake use, or a newer one"
        )


class NotARegistryError(LakeError):
    """The database named as the registry has tables of another program."""

    def __init__(self, registry: str, *, table: str) -> None:
        self.registry, self.table = registry, table
        super().__init__(
            f"`{registry}` has a table `{table}` that is not one of a registry's; nothing was "
            "changed. Give the registry a database or schema of its own"
        )


class RegistryInUseError(LakeError):
    """The database named as the registry belongs to another lake."""

    def __init__(self, registry: str, *, warehouse: str, owner: str) -> None:
        self.registry, self.warehouse, self.owner = registry, warehouse, owner
        super().__init__(
            f"the registry `{registry}` belongs to the lake of `{owner}`, not of `{warehouse}`: "
            "commits of both would be mixed; nothing was changed. Give each lake a database or "
            "schema of its own, by `registry_uri` in lake.toml or HEADRACE_REGISTRY_URI"
        )
