"""Processes that change rows: ingestion, plain appends, compaction, file-level deletes."""

from typing_extensions import override

from tests.protocol.role import Committer, Step
from tests.protocol.table import MAIN, File, Metadata, Request
from tests.protocol.world import Actor, World, committed_offset

APPENDED_ROW = 8  # rows below come from the source, and are their offsets there
DELETED_ROWS = 0b101


class Ingester(Committer):
    """Takes records from the source, and moves the offsets in the same commit (`ingest/open_batch.py`).

    Plan at rest: where it got to, nothing in a new process. At work: the offset it expects in the
    table, the first and the last record it took; second half of a commit in two: the offset alone.
    """

    name = "ingester"

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        expected = committed_offset(world.table, self.rules)
        position = actor.plan[0] if actor.plan else expected
        if actor.at == "ready":
            expected = position  # within a run its own memory is enough: the fence checks it
        return [
            (
                f"reads offset {expected}, takes {position}..{position + count - 1}",
                self.begin(world, actor, (expected, position, position + count)),
            )
            for count in self.bounds.batches
            if position + count <= self.bounds.records
        ]

    @override
    def rows(self, actor: Actor) -> int:
        _, first, end = actor.plan
        return (1 << end) - (1 << first)

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        rules, plan = self.rules, actor.plan
        if len(plan) == 1:  # only with offsets that follow in a second commit
            return Request.of(offset=plan[0], expects=((MAIN, world.table.ref(MAIN)),))
        expected, _, end = plan
        checks = rules.checks_fence and (rules.checks_fence_on_retry or actor.request is None)
        if checks and committed_offset(world.table, rules) != expected:
            return None
        parent = world.table.head
        due = (1 << end) - (1 << min(end, parent.upto if parent else 0))
        return self.commit(world, actor, upto=end, truth=lambda rows: rows | due)

    @override
    def after_commit(self, actor: Actor) -> Actor:
        end = actor.plan[-1]
        rested = self.at_rest(actor, "ready")._replace(plan=(end,))
        if len(actor.plan) == 3 and not self.rules.moves_offsets_with_rows:
            return rested._replace(at="stage")
        return rested

    @override
    def after_kill(self, actor: Actor) -> Actor:
        rested = self.at_rest(actor, "start" if self.rules.starts_after_kill else "done")
        return rested if self.rules.resumes_from_table else rested._replace(plan=actor.plan[-1:])


class Appender(Committer):
    """Appends one row without a fence: an engine's result, say. Killed, it does not come back."""

    name = "appender"
    turns = 1

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns:
            return []
        spent = actor._replace(turns=actor.turns - 1)
        return [("has a row to append", self.begin(world, spent, (APPENDED_ROW + actor.turns,)))]

    @override
    def rows(self, actor: Actor) -> int:
        return 1 << actor.plan[0]

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        return self.commit(world, actor, truth=lambda rows: rows | self.rows(actor))


class Compactor(Committer):
    """Replaces files by one with the same rows (`maintenance/compaction/compact.py`).

    Plan: the rows, the files to remove.
    """

    name = "compactor"
    turns = 1

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        head = world.table.head
        if not actor.turns or head is None:
            return []
        spent = actor._replace(turns=actor.turns - 1)
        choices = {head.files, head.files[:2]}
        return [
            (
                f"plans to replace {', '.join(f'f{file.id}' for file in files)}",
                self.begin(world, spent, (_rows(files), _mask(files))),
            )
            for files in sorted(choices)
            if len(files) > 1
        ]

    @override
    def rows(self, actor: Actor) -> int:
        return actor.plan[0]

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        _, removed = actor.plan
        if self.rules.requires_inputs and removed & ~_mask(_files(world.table)):
            return None
        return self.commit(world, actor, removed=removed, truth=lambda rows: rows)


class Rewriter(Committer):
    """Deletes rows by rewriting the files that hold them (merge, delete_where).

    Plan: the rows to keep, the files to remove, the snapshot it was computed from.
    """

    name = "rewriter"
    turns = 1

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        head = world.table.head
        if not actor.turns or head is None:
            return []
        concerned = tuple(file for file in head.files if file.rows & DELETED_ROWS)
        if not concerned:
            return []
        plan = (_rows(concerned) & ~DELETED_ROWS, _mask(concerned), head.id)
        spent = actor._replace(turns=actor.turns - 1)
        label = f"plans to delete from {', '.join(f'f{file.id}' for file in concerned)}"
        return [(label, self.begin(world, spent, plan))]

    @override
    def rows(self, actor: Actor) -> int:
        return actor.plan[0]

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        _, removed, base_id = actor.plan
        files, base = _files(world.table), world.table.by_id.get(base_id)
        if self.rules.requires_inputs and removed & ~_mask(files):
            return None
        if base is None and self.rules.refuses_expired_base:
            return None
        known = _mask(base.files if base else files)
        new = (file for file in files if not known >> file.id & 1)
        if self.rules.refuses_rows_it_did_not_see and any(f.rows & DELETED_ROWS for f in new):
            return None
        return self.commit(world, actor, removed=removed, truth=lambda rows: rows & ~DELETED_ROWS)


def _files(table: Metadata) -> tuple[File, ...]:
    head = table.head
    return head.files if head else ()


def _rows(files: tuple[File, ...]) -> int:
    rows = 0
    for file in files:
        rows |= file.rows
    return rows


def _mask(files: tuple[File, ...]) -> int:
    mask = 0
    for file in files:
        mask |= 1 << file.id
    return mask
