"""The real table code beside a model of rows, snapshots and refs, driven by hypothesis."""

import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CommitConflictError, NotAnAncestorError
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.conftest import ROOT
from tests.proofs import operations as ops
from tests.proofs.operations import Operation, Rows, Steps, batch_of, finish, rows_at, rows_of
from tests.tables.factories import events_table

STEPS_SHORT, STEPS_LONG = 150, 50_000
STEPS_PER_RUN = 50
_TAKEN = {"steps": 0}
days = st.integers(0, ops.DAYS - 1)


class TableMachine(RuleBasedStateMachine):
    """One table; every rule does one thing to it and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-machine-"))
        loaded = Settings.load(
            env={"HEADRACE_STATE_DIR": str(self.folder)}, path=ROOT / "lake" / "lake.toml"
        )
        self.lake = Lake.open(dataclasses.replace(loaded, snapshots_kept=8))
        self.table = events_table(self.lake)
        self.rows: Rows = {}
        self.next_id = 0
        self.history: dict[int, Rows] = {}
        self.tags: dict[str, int] = {}
        self.branches: dict[str, Rows] = {}
        self.pending: tuple[Operation, Steps] | None = None
        self.seen: int | None = None

    def teardown(self) -> None:
        for tag, snapshot_id in self.tags.items():
            assert rows_at(self.table.at(tag=tag)) == self.history[snapshot_id]
        stock = self.table.iceberg().scan().to_arrow().column("id").to_pylist()
        assert sorted(stock) == sorted(self.rows)
        self.lake.close()
        shutil.rmtree(self.folder)

    def do(self, operation: Operation) -> None:
        finish(operation.steps(self.table))
        self.rows = operation.effect(self.rows)
        self.remember()

    def remember(self) -> None:
        _TAKEN["steps"] += 1
        head = self.table.head().snapshot_id
        if head is not None:
            self.history[head] = dict(self.rows)

    def fresh(self, day: int, count: int) -> Rows:
        first, self.next_id = self.next_id, self.next_id + count
        return {i: (f"event {i}", day) for i in range(first, first + count)}

    @initialize(day=days)
    def start(self, day: int) -> None:
        self.do(ops.append(self.fresh(day, 3)))
        self.seen = self.table.head().snapshot_id

    @rule(day=days, count=st.integers(1, 4))
    def append(self, day: int, count: int) -> None:
        self.do(ops.append(self.fresh(day, count)))

    @rule(data=st.data(), day=days)
    def merge(self, data: st.DataObject, day: int) -> None:
        old = data.draw(st.sets(st.sampled_from(sorted(self.rows) or [0]), max_size=3))
        changed = {i: (f"merged at {len(self.history)}", day) for i in old if i in self.rows}
        self.do(ops.merging({**changed, **self.fresh(day, 1)}))

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.rows)), min_size=1, max_size=4))
        self.do(ops.deleting(frozenset(gone)))

    @rule(day=days, count=st.integers(0, 2))
    def overwrite(self, day: int, count: int) -> None:
        self.do(ops.overwriting(day, self.fresh(day, count)))

    @rule(
        operation=st.sampled_from(
            [ops.COMPACTION, ops.COMPACTION, ops.MANIFESTS, ops.EXPIRY, ops.CLEAN_UP]
        )
    )
    def maintain(self, operation: Operation) -> None:
        if operation is ops.CLEAN_UP:
            ops.age_files(self.table)
        self.do(operation)

    @precondition(lambda self: self.pending is None)
    @rule(day=days)
    def begin(self, day: int) -> None:
        """Look at the table now, and change it some rules later."""
        choice = ops.COMPACTION if day else ops.append(self.fresh(day, 2))
        steps = choice.steps(self.table)
        next(steps)
        self.pending = (choice, steps)
        _TAKEN["steps"] += 1

    @precondition(lambda self: self.pending is not None)
    @rule()
    def end(self) -> None:
        assert self.pending is not None
        operation, steps = self.pending
        self.pending = None
        try:
            finish(steps)
        except CommitConflictError:
            _TAKEN["steps"] += 1
            return  # nothing was changed: the invariants say so
        self.rows = operation.effect(self.rows)
        self.remember()

    @rule(number=st.integers(0, 3))
    def tag(self, number: int) -> None:
        head, name = self.table.head().snapshot_id, f"t{number}"
        _TAKEN["steps"] += 1
        if head is None or self.tags.get(name, head) != head:
            return
        refs.tag(self.table, name, snapshot_id=head)
        self.tags[name] = head

    @precondition(lambda self: self.tags)
    @rule(data=st.data())
    def drop_tag(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tags)))
        refs.drop(self.table, name, snapshot_id=self.tags.pop(name))
        _TAKEN["steps"] += 1

    @precondition(lambda self: len(self.branches) < 2 and self._new_branch not in self.branches)
    @rule()
    def branch(self) -> None:
        head, name = self.table.head().snapshot_id, self._new_branch
        assert head is not None
        refs.create_branch(self.table, name, at=head)
        self.branches[name] = dict(self.rows)
        _TAKEN["steps"] += 1

    @property
    def _new_branch(self) -> str:
        return f"b{len(self.history)}"

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), day=days)
    def append_to_branch(self, data: st.DataObject, day: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.branches)))
        rows = self.fresh(day, 1)
        files = write_batches(self.table, [batch_of(rows)])
        operations.append(self.table, files, provenance=Provenance(), branch=name)
        self.branches[name] = {**self.branches[name], **rows}
        _TAKEN["steps"] += 1

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Fast-forward main; refused whenever main has moved on, which the model knows by ids."""
        name = data.draw(st.sampled_from(sorted(self.branches)))
        _TAKEN["steps"] += 1
        try:
            refs.fast_forward(self.table, "main", to=name)
        except NotAnAncestorError:
            return
        self.rows = self.branches[name]
        self.remember()

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def drop_branch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.branches)))
        head = refs.branches(self.table)[name]
        refs.drop(self.table, name, snapshot_id=head)
        del self.branches[name]
        _TAKEN["steps"] += 1

    @invariant()
    def reads_as_the_model_says(self) -> None:
        assert rows_of(self.table) == self.rows

    @invariant()
    def branches_read_as_the_model_says(self) -> None:
        for name, rows in self.branches.items():
            assert rows_at(self.table.at(branch=name)) == rows

    @invariant()
    def living_snapshots_never_change(self) -> None:
        alive = [s.snapshot_id for s in self.table.iceberg().metadata.snapshots]
        known = [each for each in alive if each in self.history]
        if known:
            assert rows_at(self.table.at(snapshot_id=known[0])) == self.history[known[0]]

    @invariant()
    def history_has_no_hole(self) -> None:
        if self.seen is not None:
            assert changes(self.table, since=self.seen).since == self.seen


def drive(steps: int) -> None:
    """Run machines until this many rules were taken."""
    _TAKEN["steps"] = 0
    while _TAKEN["steps"] < steps:
        run_state_machine_as_test(
            TableMachine,
            settings=settings(
                max_examples=max(1, (steps - _TAKEN["steps"]) // STEPS_PER_RUN),
                stateful_step_count=STEPS_PER_RUN,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                print_blob=True,
            ),
        )


@pytest.mark.timeout(900)  # minutes of a busy CPU: this is against hanging
def test_three_runs_of_fifty_steps_never_part_from_the_model() -> None:
    drive(STEPS_SHORT)


@pytest.mark.proof
@pytest.mark.timeout(0)
def test_fifty_thousand_steps_never_part_from_the_model() -> None:
    drive(int(os.environ.get("HEADRACE_STEPS", STEPS_LONG)))
