"""The two tables of a stream, as one run sees them: rows and dead letters, and how far each is."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from headrace.definitions.properties import (
    CLUSTER_BY,
    CONTRACT_VERSION,
    FEATURE_VIEW_PROPERTY,
    GAPS_PREFIX,
    KEY,
    LATE_ROWS_TOTAL,
    LATENESS_S,
    RESET_PREFIX,
    RETRY_PREFIX,
    SCHEMAS_PREFIX,
    STREAM_PROPERTY,
)
from headrace.definitions.stream import Stream
from headrace.errors import ContractError, ResetUnfinishedError, RetryUnfinishedError
from headrace.iceberg.column_metrics import WHOLE_SOURCES
from headrace.ingest import dead_letters, evolution
from headrace.ingest.absent import Absent
from headrace.ingest.field_use import FieldUse
from headrace.ingest.newest_snapshot import NewestGuard, NewestSnapshot
from headrace.ingest.owner import OwnerGuard, begun_count, refuse_other
from headrace.ingest.positions import Positions, seal_former
from headrace.ingest.refused_window import RefusedWindow
from headrace.ingest.sources.base import Position, Records, SourcePartition
from headrace.ingest.watermark import Watermark
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake

_EVOLVE_TRIES = 3
_SCHEMAS_MAX = 1_000  # ids that a table's property holds


def table_properties(stream: Stream) -> dict[str, str]:
    """Return the properties in which a stream's table describes itself."""
    said = {
        STREAM_PROPERTY: stream.name,
        CONTRACT_VERSION: str(stream.version),
        LATENESS_S: f"{stream.allowed_lateness.total_seconds():g}",
    }
    if stream.key:
        said[KEY] = json.dumps([stream.column_of(stream.key)])
    if stream.cluster_by:
        said[CLUSTER_BY] = json.dumps([stream.column_of(name) for name in stream.cluster_by])
    view = stream.view()
    if view is not None:
        said[FEATURE_VIEW_PROPERTY] = view.to_property()
    return said


def open_tables(lake: OpenLake, stream: Stream) -> tuple[Stream, LakeTable, LakeTable]:
    """Create or evolve a stream's table and that of the dead letters.

    Returns the contract with the fields that its records added to it so far, and both tables. An
    ingester that evolves the table at the same time makes it read the contract again.

    Raises:
        ContractError: If a table cannot be brought in line with the contract.
        ResetUnfinishedError, RetryUnfinishedError: If a reset of the stream, or a retry of one of its
            files, is not complete.

    """
    refuse_unfinished(lake, stream)
    now = effective_contract(lake, stream)
    while True:
        try:
            return now, declared(lake, now), dead_letters.open_table(lake)
        except ContractError as error:
            before, now = now, effective_contract(lake, stream)
            if now == before:
                raise error.of_stream(stream.name) from None


def refuse_unfinished(lake: OpenLake, stream: Stream) -> None:
    """Refuse to go on with a stream of which a reset, or a retry of a file, was interrupted.

    Raises:
        ResetUnfinishedError, RetryUnfinishedError: If one was.

    """
    head = lake.head_of(stream.table)
    if head is not None:
        _refuse_open(stream, head.properties)


def _refuse_open(stream: Stream, properties: Mapping[str, str]) -> None:
    if RESET_PREFIX + stream.name in properties:
        raise ResetUnfinishedError(stream.name)
    file = properties.get(RETRY_PREFIX + stream.name)
    if file is not None:
        raise RetryUnfinishedError(stream.name, path=file)


def declared(lake: OpenLake, stream: Stream) -> LakeTable:
    """Create or evolve a stream's table.

    Raises:
        ContractError: If it cannot be brought in line with the contract.

    """
    return declare_table(
        lake,
        stream.table,
        stream.table_schema(),
        partition_by=stream.partition_by,
        properties=table_properties(stream),
        defaults=WHOLE_SOURCES,
    )


def effective_contract(lake: OpenLake, stream: Stream) -> Stream:
    """Return a contract with the fields that its records added to it so far."""
    head = lake.head_of(stream.table) if stream.unknown_fields == "evolve" else None
    return stream if head is None else evolution.effective(stream, head)


def known_schemas(stream: Stream, properties: Mapping[str, str]) -> dict[int, str]:
    """Return hashes of the schemas that values named, by id; none under another contract version."""
    told = json.loads(properties.get(SCHEMAS_PREFIX + stream.name, "{}"))
    if told.get("version") != stream.version:
        return {}
    return {int(schema_id): str(found) for schema_id, found in told["hashes"].items()}


def schemas_note(stream: Stream, hashes: Mapping[int, str]) -> dict[str, str]:
    """Return the newest ids of schemas and their hashes as an entry of table properties."""
    if not hashes:
        return {}
    newest = {str(each): hashes[each] for each in sorted(hashes)[-_SCHEMAS_MAX:]}
    said = json.dumps({"version": stream.version, "hashes": newest})
    return {SCHEMAS_PREFIX + stream.name: said}


@dataclass(kw_only=True)
class StreamTables:
    """What one run knows of the two tables; changes only with a commit.

    `field_use` is that of all records in the table, `new_use` that of this run's; `late_rows` counts
    those of all runs; `gaps` are ranges whose loss was accepted, with the time of it; `evolved` counts fields that records
    added to the contract; `schemas` are hashes of the
    schemas that values named under this version of the contract; `ends` are the positions of all partitions that this run committed;
    `half_read` are files that a run left in the middle, and that are still to be read.
    """

    stream: Stream
    table: LakeTable
    dead: LakeTable
    positions: Positions
    dead_positions: Positions
    watermark: Watermark
    run_id: str
    field_use: FieldUse
    absent: Absent
    refused: RefusedWindow
    late_rows: int
    gaps: dict[str, int]
    evolved: int
    schemas: Mapping[int, str]
    whole: NewestSnapshot
    begun: int
    new_use: FieldUse = field(default_factory=FieldUse.none)
    half_read: frozenset[SourcePartition] = frozenset()
    ends: dict[SourcePartition, Position] = field(default_factory=dict[SourcePartition, Position])
    _before: dict[SourcePartition, tuple[Position, int]] = field(
        default_factory=dict[SourcePartition, tuple[Position, int]]
    )

    @classmethod
    def open(
        cls, lake: OpenLake, stream: Stream, *, run_id: str, is_log: bool = False
    ) -> "StreamTables":
        """Create the tables or evolve them to the contract, and read how far they are.

        `is_log` says whether the stream's source is one.

        Raises:
            ContractError: If a table cannot be brought in line with the contract.
            ResetUnfinishedError, RetryUnfinishedError: If one is not complete.
            StreamOwnedError: If the stream belongs to Flink.

        """
        stream, table, dead = open_tables(lake, stream)
        if not is_log:
            for each in (dead, table):
                seal_former(each, stream=stream.name)
        # the dead letters first: they may be ahead of the rows that are read next, never behind
        dead_head, head = dead.head(), table.head()
        name, said = stream.name, head.properties
        refuse_other(stream, said)
        _refuse_open(stream, said)  # one that began since may remove dead letters of this run
        return cls(
            stream=stream,
            table=table,
            dead=dead,
            positions=Positions.read(table, said, stream=name, is_log=is_log),
            dead_positions=Positions.read(dead, dead_head.properties, stream=name, is_log=is_log),
            watermark=Watermark.read(said),
            run_id=run_id,
            field_use=FieldUse.read(head, stream),
            absent=Absent.read(said, stream=name),
            refused=RefusedWindow.read(said),
            late_rows=int(said.get(LATE_ROWS_TOTAL, "0")),
            evolved=evolution.evolved_count(stream, said),
            schemas=known_schemas(stream, said),
            whole=NewestSnapshot.read(said, stream=name),
            begun=begun_count(said, stream),
            gaps=json.loads(said.get(GAPS_PREFIX + name, "{}")),
        )

    @property
    def contract_version(self) -> str:
        """The contract's version as commits record it: `3`, or `3+2` after two fields evolved."""
        version = str(self.stream.version)
        return f"{version}+{self.evolved}" if self.evolved else version

    def evolve(self, types: Mapping[str, str]) -> bool:
        """Add fields to the contract and the table, before rows that have them; False if it cannot.

        Idempotent, and safe beside another ingester that does the same.
        """
        for _ in range(_EVOLVE_TRIES):
            now = evolution.effective(self.stream, self.table.head())
            grown = evolution.with_fields(now, types)
            if grown.fields == self.stream.fields:
                return False
            try:
                declared(self.table.lake, grown)
                break
            except ContractError:  # another ingester was first: adopt what it did
                continue
        else:
            return False
        known = evolution.note(self.table, grown, types)
        self.stream = evolution.with_fields(grown, known)
        self.evolved = len(known)
        return True

    def expect_schemas(self, records: Records) -> None:
        """Let ids of schemas mean what they meant before, and remember those that are new."""
        if records.schemas is not None:
            records.schemas.expect(self.schemas)
            self.schemas = records.schemas.hashes

    @property
    def is_log(self) -> bool:
        """Whether the stream's source is a log, whose partitions go on."""
        return self.positions.is_log

    @property
    def commits_within_a_file(self) -> bool:
        """Whether a part of a partition may be committed before all of it is read.

        False if an undeclared field of a later JSON line can still refuse the file, and of whole
        snapshots. A partition of a log has no end, so nothing refuses the whole of it.
        """
        refuses_later = self.stream.unknown_fields == "refuse" and self.stream.format == "json"
        return self.is_log or not (refuses_later or self.stream.full_snapshot)

    @property
    def guard(self) -> OwnerGuard:
        """What each commit of rows has to find in the table."""
        if self.stream.full_snapshot:
            return NewestGuard(self.stream, newest=self.whole, begun=self.begun)
        return OwnerGuard(self.stream, begun=self.begun)

    def look_up(self, partitions: Iterable[SourcePartition]) -> None:
        """Look up how far partitions were before this run, in both tables, all at once."""
        wanted = [each for each in partitions if each not in self._before]
        taken, dead = self.positions.of(wanted), self.dead_positions.of(wanted)
        nothing = Position()
        self._before |= {
            each: (taken.get(each, nothing), dead.get(each, nothing).offset) for each in wanted
        }

    def position(self, partition: SourcePartition) -> Position:
        """Return how far a partition is taken."""
        if partition in self.ends:
            return self.ends[partition]
        self.look_up([partition])
        return self._before[partition][0]

    def dead_offset(self, partition: SourcePartition) -> int:
        """Return the offset below which all refused records of a partition are dead letters."""
        if partition in self.dead_positions.open:
            return self.dead_positions.open[partition].offset
        self.look_up([partition])
        return self._before[partition][1]

    def known_dead(self, partition: SourcePartition, *, since: int) -> Collection[int]:
        """Return offsets, from `since` on, that an earlier run committed as dead letters only."""
        if self.dead_offset(partition) <= since:
            return ()
        return dead_letters.committed_offsets(
            self.dead, self.stream, partition=partition, since=since
        )
