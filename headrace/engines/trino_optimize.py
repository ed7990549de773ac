"""Lets Trino merge data files: `optimize` of a clone that holds them, whose new files are adopted.

The table itself is never optimized by Trino: its commit would carry no provenance, and would not
notice deletes that the committer knows of.
"""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema

from headrace.config import Settings
from headrace.engines.misread_files import refuse_folded_names
from headrace.engines.trino_client import TrinoClient
from headrace.engines.trino_scan import table_sql
from headrace.engines.trino_stage import Answered, Staging
from headrace.engines.trino_writes import session_of
from headrace.errors import RewriteRefusedError
from headrace.iceberg import schema
from headrace.servers import TrinoAccess
from headrace.storage.locations import local_path
from headrace.storage.pages import check_pages
from headrace.tables.lake import LakeTable

_ANY_SIZE = "1000TB"  # Trino leaves out files above a threshold, by default 100 MB
_FILES_PER_WRITER = 4  # each writer leaves one small file at its end
_WRITERS_MAX = 16


class TrinoRewriter:
    """Implements `FileRewriter` with one client of a Trino server."""

    def __init__(self, client: TrinoClient, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._is_checked = False

    @classmethod
    def open(cls, settings: Settings, access: TrinoAccess) -> "TrinoRewriter":
        """Make a rewriter; nothing is reached yet."""
        return cls(TrinoClient(access), settings)

    def rewrite(
        self, files: Sequence[DataFile], *, of: LakeTable, target_bytes: int
    ) -> tuple[DataFile, ...]:
        """Merge files by `optimize` of a clone that holds them: see `FileRewriter.rewrite`.

        Raises:
            RewriteRefusedError: If the new files do not hold the rows of the old ones.
            Otherwise as `FileRewriter.rewrite`.

        """
        name, target = str(of.name), of.iceberg()
        refuse_folded_names(schema.to_arrow(target.schema()), table=name, engine="Trino")
        self._refuse_damaged(files, of)
        session = _session_of(of, files, target_bytes=target_bytes, catalog=self._catalog)
        staging = Staging(of.lake)
        staging.drop_abandoned()
        with staging.clone(of, holding=files) as clone:
            query_id = self._optimize(table_sql(clone.name, catalog=self._catalog), session)
            rows = sum(file.record_count for file in files)
            left = clone.held_now()
            if left:
                detail = f"left {len(left)} of {len(files)} files as they are"
                raise RewriteRefusedError(name, detail, query_id=query_id)
            made = clone.adopt([Answered(query_id=query_id, rows=rows)])
            changed = _nulls_differ(files, made, target.schema())
            if changed is not None:
                detail = f"changed how many values of `{changed}` are null"
                raise RewriteRefusedError(name, detail, query_id=query_id)
        return made

    def __enter__(self) -> Self:
        """Return the rewriter itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._client.close()

    def _optimize(self, clone: str, session: Mapping[str, str]) -> str:
        self._client.begin()
        if not self._is_checked:
            self._client.check()
            self._is_checked = True
        statement = f"alter table {clone} execute optimize(file_size_threshold => '{_ANY_SIZE}')"
        query_id = ""
        with contextlib.closing(self._client.pages(statement, session=session)) as pages:
            for page in pages:
                query_id = page.query_id
        return query_id

    def _refuse_damaged(self, files: Sequence[DataFile], of: LakeTable) -> None:
        """Compare each file with its checksums, which Trino does not look at."""
        io = of.iceberg().io
        paths = [local_path(file.file_path) for file in files]
        with ThreadPoolExecutor(max(1, self._settings.threads)) as pool:
            list(pool.map(lambda path: check_pages(path, io=io), paths))

    @property
    def _catalog(self) -> str:
        return self._client.access.catalog


def _session_of(
    table: LakeTable, files: Sequence[DataFile], *, target_bytes: int, catalog: str
) -> Mapping[str, str]:
    """Add to the table's recipe how large files become: few writers leave few small ones."""
    size = sum(file.file_size_in_bytes for file in files)
    writers = min(_WRITERS_MAX, max(1, size // (_FILES_PER_WRITER * target_bytes)))
    return {
        **session_of(table.iceberg(), catalog=catalog),
        f"{catalog}.target_max_file_size": f"{target_bytes}B",
        "task_min_writer_count": "1",
        "task_max_writer_count": str(1 << (writers.bit_length() - 1)),  # powers of two only
    }


def _nulls_differ(
    before: Sequence[DataFile], after: Sequence[DataFile], columns: Schema
) -> str | None:
    """Name a column of which there are now more or fewer nulls, as far as every file counts them.

    A column that the engine failed to find in old files would be all null, in as many rows. Nulls
    in lists and structs are left out: writers count them differently.
    """
    plain = [each for each in columns.fields if each.field_type.is_primitive]
    for field in plain:
        old, new = (
            [(each.null_value_counts or {}).get(field.field_id) for each in files]
            for files in (before, after)
        )
        known = [count for count in (*old, *new) if count is not None]
        if len(known) == len(old) + len(new) and sum(known[: len(old)]) != sum(known[len(old) :]):
            return field.name
    return None
