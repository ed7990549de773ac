"""One table of Paimon, by the library pypaimon: what it declares, its snapshots, tags, files and rows.

pypaimon plans, and merges rows of tables with a key; the files of changes are read by `files`.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.errors import PaimonReadError, PaimonSnapshotNotFoundError, PaimonTagExistsError
from headrace.interop.paimon.facts import PaimonDefinition, PaimonFiles, PaimonSnapshot
from headrace.interop.paimon.files import DataFile, FileColumns
from headrace.interop.paimon.naming import naming

_ADDED = 0  # kind of a manifest entry
_BATCH = (1 << 63) - 1  # in place of the number of a checkpoint
# options that say what files mean; Paimon rewrites no older ones when they change. With their defaults
LAYOUT = {"changelog-producer": "none", "deletion-vectors.enabled": "false"}


class PaimonTable:
    """One table: what it declares, its snapshots and tags, and the files and rows behind them."""

    def __init__(self, name: str, opened: Any, *, version: str) -> None:  # noqa: ANN401  (untyped)
        self.name, self.version, self._table = name, version, opened
        self.definition = definition_of(
            name,
            opened.fields,
            keys=opened.primary_keys,
            partition_keys=opened.partition_keys,
            options=opened.table_schema.options,
            altered=_altered(opened),
        )

    def created_ms(self) -> int:
        """Return when the table was created: one that was dropped and made again is another.

        Raises:
            PaimonReadError: If it was dropped since it was opened.

        """
        with naming(self.name):
            first = self._table.schema_manager.get_schema(0)
        if first is None:
            raise PaimonReadError(self.name, "its first schema is not there: it was dropped")
        return int(first.time_millis)

    def snapshots(self) -> tuple[PaimonSnapshot, ...]:
        """List the snapshots that are there, oldest first."""
        with naming(self.name):
            found = self._table.snapshot_manager().list_snapshots()
            return tuple(map(_snapshot, found))

    def tags(self) -> dict[str, PaimonSnapshot]:
        """List the tags with the snapshots they keep, by name."""
        with naming(self.name):
            manager = self._table.tag_manager()
            names = sorted(self._table.list_tags()) if _has_tags(self._table) else []
            return {name: _snapshot(manager.get_or_throw(name)) for name in names}

    def create_tag(self, tag: str, *, snapshot_id: int) -> None:
        """Name a snapshot, so that its files stay; idempotent.

        Raises:
            PaimonSnapshotNotFoundError: If there is no such snapshot.
            PaimonTagExistsError: If the tag names another one.

        """
        there = self.tags().get(tag)
        if there is not None and there.id == snapshot_id:
            return
        if there is not None:
            raise PaimonTagExistsError(self.name, tag, snapshot_id=there.id)
        self._found(snapshot_id)
        with naming(self.name):
            self._table.create_tag(tag, snapshot_id)

    def drop_tag(self, tag: str) -> None:
        """Drop a tag.

        Raises:
            PaimonSnapshotNotFoundError: If there is none of that name.

        """
        if tag not in self.tags():
            raise PaimonSnapshotNotFoundError(self.name, f"tag `{tag}`")
        with naming(self.name):
            self._table.delete_tag(tag)

    def consumers(self) -> dict[str, int]:
        """List who registered to read on, and the snapshot that each reads next."""
        with naming(self.name):
            found: dict[str, int] = self._table.consumer_manager().consumers()
            return found

    def hold(self, consumer: str, *, from_snapshot_id: int) -> None:
        """Ask Paimon's expiry to keep the snapshots from this one on for `consumer`."""
        from pypaimon.consumer.consumer import Consumer

        with naming(self.name):
            self._table.consumer_manager().reset_consumer(
                consumer, Consumer(next_snapshot=from_snapshot_id)
            )

    def files_of(self, snapshot_id: int, *, tag: str | None = None) -> tuple[DataFile, ...]:
        """List the live files of a snapshot, or of the one that `tag` keeps, by bucket and age."""
        with naming(self.name):
            return self._files("read_all", self._found(snapshot_id, tag=tag), added_only=False)

    def changed_files_of(self, snapshot_id: int, *, changelog: bool) -> tuple[DataFile, ...]:
        """List the files of a snapshot's own changes: its changelog, or those it added."""
        snapshot = self._found(snapshot_id)
        with naming(self.name):
            if not changelog:
                return self._files("read_delta", snapshot, added_only=True)
            if snapshot.changelog_manifest_list is None:
                return ()
            return self._files("read_changelog", snapshot, added_only=True)

    def merged(self, snapshot_id: int, *, tag: str | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a snapshot as its merge engine combines them; for tables with a key."""
        from pypaimon.read.scanner.file_scanner import FileScanner

        snapshot = self._found(snapshot_id, tag=tag)
        with naming(self.name):
            manifests = self._manifest_lists().read_all(snapshot)
            plan = FileScanner(self._table, lambda: (manifests, snapshot)).scan()
            reader = self._table.new_read_builder().new_read()
            yield from reader.to_arrow_batch_reader(plan.splits(), parallelism=1)

    def statistics(self, snapshot_id: int) -> PaimonFiles:
        """Count the live files of a snapshot."""
        files = self.files_of(snapshot_id)
        unmerged = [file for file in files if file.level == 0] if self.definition.keys else []
        return PaimonFiles(
            files=len(files),
            bytes=sum(file.bytes for file in files),
            unmerged=len(unmerged),
            per_bucket_max=_most(files),
            unmerged_per_bucket_max=_most(unmerged),
        )

    def columns_of(self, schema_id: int) -> FileColumns:
        """Map the columns of files of an older schema to those of today, by field id."""
        with naming(self.name):
            newest = self._table.table_schema
            then = self._table.schema_manager.get_schema(schema_id)
        names = {field.id: field.name for field in then.fields}
        return FileColumns({field.name: names.get(field.id) for field in newest.fields})

    def open_input(self, path: str) -> Any:  # noqa: ANN401  (a file of pyarrow)
        """Open a file of this table."""
        return self._table.file_io.new_input_stream(path)

    def write(
        self, batches: Iterator[pa.RecordBatch], *, properties: Mapping[str, str], replace: bool
    ) -> None:
        """Commit rows as one snapshot with these properties, in place of all others if `replace`."""
        with naming(self.name), warnings.catch_warnings():
            # pypaimon 2.1 sorts in the way of pyarrow before 25
            warnings.filterwarnings("ignore", "Specifying null_placement", FutureWarning)
            builder = self._table.new_batch_write_builder()
            if replace:
                builder = builder.overwrite()
            write, commit = builder.new_write(), builder.new_commit()
            try:
                for batch in batches:
                    write.write_arrow_batch(batch)
                commit.commit(write.prepare_commit(), dict(properties))
            finally:
                write.close()
                commit.close()

    def _found(self, snapshot_id: int, *, tag: str | None = None) -> Any:  # noqa: ANN401  (untyped)
        with naming(self.name):
            if tag is not None:
                found = self._table.tag_manager().get(tag)
                if found is None:
                    raise PaimonSnapshotNotFoundError(self.name, f"tag `{tag}`")
                return found
            found = self._table.snapshot_manager().get_snapshot_by_id(snapshot_id)
        if found is None:
            raise PaimonSnapshotNotFoundError(self.name, f"snapshot {snapshot_id}")
        return found

    def _manifest_lists(self) -> Any:  # noqa: ANN401  (untyped)
        from pypaimon.manifest.manifest_list_manager import ManifestListManager

        return ManifestListManager(self._table)

    def _files(self, what: str, snapshot: Any, *, added_only: bool) -> tuple[DataFile, ...]:  # noqa: ANN401
        from pypaimon.manifest.manifest_file_manager import ManifestFileManager

        def is_wanted(entry: Any) -> bool:  # noqa: ANN401  (untyped)
            if added_only and entry.kind != _ADDED:
                msg = f"snapshot {snapshot.id} removed a file with its changes"
                raise ValueError(msg)
            return True

        manifests = getattr(self._manifest_lists(), what)(snapshot)
        manager = ManifestFileManager(self._table)
        entries = manager.read_entries_parallel(manifests, is_wanted, max_workers=2)
        return tuple(sorted((_data_file(self._table, each) for each in entries), key=_by_age))


def definition_of(
    name: str,
    fields: list[Any],
    *,
    keys: Sequence[str],
    partition_keys: Sequence[str],
    options: Mapping[str, Any],
    altered: Sequence[str] = (),
) -> PaimonDefinition:
    """Describe a table by its fields, as pypaimon has them."""
    from pypaimon.schema.data_types import PyarrowFieldParser

    return PaimonDefinition(
        name=name,
        options={str(key): str(value) for key, value in options.items()},
        keys=tuple(keys),
        partition_keys=tuple(partition_keys),
        types={field.name: str(field.type) for field in fields},
        schema=PyarrowFieldParser.from_paimon_schema(fields),
        altered=tuple(altered),
    )


def _altered(table: Any) -> list[str]:  # noqa: ANN401  (untyped)
    """List options of the layout that had another value when rows were written; most tables have one schema."""
    manager, snapshots = table.schema_manager, table.snapshot_manager()
    if not table.table_schema.id or snapshots.get_latest_snapshot() is None:
        return []
    first = snapshots.get_snapshot_by_id(1)
    since = 0 if first is None else first.schema_id
    used = [each.options for each in manager.list_all() if each.id >= since]
    return [
        name
        for name, default in LAYOUT.items()
        if len({str(each.get(name, default)).strip().lower() for each in used}) > 1
    ]


def _has_tags(table: Any) -> bool:  # noqa: ANN401  (untyped)
    manager = table.tag_manager()
    return bool(manager.file_io.exists(manager.tag_directory()))


def _snapshot(found: Any) -> PaimonSnapshot:  # noqa: ANN401  (untyped)
    changelog = found.changelog_manifest_list is not None
    return PaimonSnapshot(
        id=found.id,
        kind=found.commit_kind,
        committed_at_ms=found.time_millis,
        rows=found.total_record_count,
        rows_changed=found.delta_record_count,
        changelog_rows=found.changelog_record_count or 0 if changelog else None,
        properties=dict(found.properties or {}),
        is_of_batch=found.commit_identifier == _BATCH,
    )


def _data_file(table: Any, entry: Any) -> DataFile:  # noqa: ANN401  (untyped)
    file = entry.file
    if file.physical_path() is None:
        file.set_file_path(str(table.table_path), entry.partition, entry.bucket)
    partition = ",".join(f"{k}={v}" for k, v in entry.partition.to_dict().items())
    return DataFile(
        path=file.physical_path(),
        rows=file.row_count,
        bytes=file.file_size,
        level=file.level,
        schema_id=file.schema_id,
        bucket_key=f"{partition}/{entry.bucket}",
        first_sequence=file.min_sequence_number,
    )


def _most(files: Sequence[DataFile]) -> int:
    """Count the files of the fullest bucket."""
    return max(Counter(file.bucket_key for file in files).values(), default=0)


def _by_age(file: DataFile) -> tuple[str, int, str]:
    return file.bucket_key, file.first_sequence, file.path
