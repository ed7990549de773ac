"""Branches, tags, picks, publishing and rollback on a real table, against a model of a few lines."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    AlreadyPublishedError,
    BranchDivergedError,
    CherryPickRefusedError,
    NotAnAncestorError,
    SnapshotNotFoundError,
)
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Commit, Fence, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.publishing.cherry_pick import cherry_pick
from headrace.tables.publishing.publish import Way, apply_publish, plan_publish
from headrace.tables.refs import leases, refs
from headrace.tables.refs.leases import Lease
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.conftest import ROOT
from tests.tables.factories import events, events_table

pytestmark = pytest.mark.slow

OWN_IDS_FROM = 1_000_000  # below are the records of a source, each named by its offset
BRANCHES = ("main", "left", "right")


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot of the model holds, and how it came about."""

    id: int
    parent: "Snapshot | None"
    rows: frozenset[int]
    offset: int
    added: frozenset[int] = frozenset()
    appends: bool = True
    fenced: bool = False
    sources: frozenset[int] = frozenset()  # the snapshots it was picked from

    def history(self) -> "Iterator[Snapshot]":
        at: Snapshot | None = self
        while at is not None:
            yield at
            at = at.parent

    def known(self) -> frozenset[int]:
        """Every snapshot whose rows came into this one's history."""
        return frozenset().union(*({s.id} | s.sources for s in self.history()))

    def origins(self) -> frozenset[int]:
        return self.sources or frozenset({self.id})


class RefsMachine(RuleBasedStateMachine):
    """Does the same to a table and to the model, and compares what either says."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        env = {"HEADRACE_STATE_DIR": str(self.folder)}
        loaded = Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
        self.lake = Lake.open(Settings(**{**loaded.__dict__, "snapshots_kept": 4}))
        self.table: LakeTable = events_table(self.lake)
        self.refs: dict[str, Snapshot] = {}
        self.snapshots: dict[int, Snapshot] = {}
        self.next_id = OWN_IDS_FROM
        self.leases: list[tuple[Lease, Snapshot]] = []
        self.count = 0

    def teardown(self) -> None:
        self.lake.close()
        shutil.rmtree(self.folder)

    def landed(self, branch: str, done: Commit, **facts: object) -> None:
        parent = self.refs.get(branch)
        values = {
            "rows": parent.rows if parent else frozenset(),
            "offset": parent.offset if parent else 0,
            **facts,
        }
        made = Snapshot(id=done.snapshot_id, parent=parent, **values)  # pyright: ignore[reportArgumentType]
        self.refs[branch] = self.snapshots[made.id] = made

    def write(self, branch: str, ids: list[int]) -> Commit:
        files = write_batches(self.table, [events(ids)])
        return operations.append(self.table, files, provenance=Provenance(), branch=branch)

    @initialize()
    def begin(self) -> None:
        self.landed("main", self.write("main", [OWN_IDS_FROM]), rows=frozenset({OWN_IDS_FROM}))
        for name in BRANCHES[1:]:
            refs.create_branch(self.table, name)
            self.refs[name] = self.refs["main"]

    @rule(branch=st.sampled_from(BRANCHES))
    def append(self, branch: str) -> None:
        self.next_id += 1
        done = self.write(branch, [self.next_id])
        rows = self.refs[branch].rows | {self.next_id}
        self.landed(branch, done, rows=rows, added=frozenset({self.next_id}))

    @rule(count=st.integers(1, 3))
    def ingest(self, count: int) -> None:
        before = operations.offsets(self.table.head(), "log")
        first = before.get("s", 0)
        assert first == self.refs["main"].offset
        new = frozenset(range(first, first + count))
        done = operations.append(
            self.table,
            write_batches(self.table, [events(sorted(new))]),
            provenance=Provenance(),
            fence=Fence(key="log", expected=before, offsets=before | {"s": first + count}),
        )
        rows = self.refs["main"].rows | new
        self.landed("main", done, rows=rows, offset=first + count, added=new, fenced=True)

    @rule(branch=st.sampled_from(BRANCHES[1:]))
    def overwrite(self, branch: str) -> None:
        self.next_id += 1
        files = write_batches(self.table, [events([self.next_id])])
        done = operations.overwrite(self.table, files, provenance=Provenance(), branch=branch)
        self.landed(branch, done, rows=frozenset({self.next_id}), appends=False)

    @rule()
    def compact_main(self) -> None:
        done = compact(self.table)
        if done.commit is not None:
            self.landed("main", done.commit, appends=False)

    @rule(target=names, branch=st.sampled_from(BRANCHES))
    def tag(self, branch: str) -> str:
        self.count += 1
        name = f"tag-{self.count}"
        refs.tag(self.table, name, snapshot_id=self.refs[branch].id)
        self.refs[name] = self.refs[branch]
        return name

    @rule(name=consumes(names))
    def drop_tag(self, name: str) -> None:
        plan = refs.plan_drop(self.table, name)
        others = {s.id for other, ref in self.refs.items() if other != name for s in ref.history()}
        others |= {s.id for _, held in self.leases for s in held.history()}
        mine = [s.id for s in self.refs[name].history() if s.id not in others]
        assert [each.snapshot_id for each in plan.lost] == mine
        refs.apply_drop(self.table, plan)
        del self.refs[name]

    @rule(name=st.sampled_from(BRANCHES[1:]), at=names | st.sampled_from(BRANCHES))
    def begin_branch_anew(self, name: str, at: str) -> None:
        wanted = self.refs[at]
        refs.drop(self.table, name, snapshot_id=self.refs.pop(name).id)
        self.refs[name] = wanted
        refs.create_branch(self.table, name, at=wanted.id if at == name else at)

    @rule(branch=st.sampled_from(BRANCHES), to=names | st.sampled_from(BRANCHES))
    def fast_forward(self, branch: str, to: str) -> None:
        head, wanted = self.refs[branch], self.refs[to]
        if head in wanted.history():
            refs.fast_forward(self.table, branch, to=to)
            self.refs[branch] = wanted
        else:
            with pytest.raises(NotAnAncestorError):
                refs.fast_forward(self.table, branch, to=to)

    @rule(to=names | st.sampled_from(BRANCHES))
    def roll_back(self, to: str) -> None:
        self.roll_back_to(self.refs[to])

    @rule(steps=st.integers(1, 6))
    def roll_back_some_commits(self, steps: int) -> None:
        history = list(self.refs["main"].history())
        self.roll_back_to(history[min(steps, len(history) - 1)])

    def roll_back_to(self, wanted: Snapshot) -> None:
        head = self.refs["main"]
        if self.table.iceberg().metadata.snapshot_by_id(wanted.id) is None:
            with pytest.raises(SnapshotNotFoundError):
                plan_rollback(self.table, wanted.id)
        elif wanted not in head.history():
            with pytest.raises(NotAnAncestorError):
                plan_rollback(self.table, wanted.id)
        else:
            plan = plan_rollback(self.table, wanted.id)
            assert (plan.rows_before, plan.rows_after) == (len(head.rows), len(wanted.rows))
            assert [m.after or 0 for m in plan.offsets] == (
                [] if wanted.offset == head.offset else [wanted.offset]
            )
            apply_rollback(self.table, plan)
            self.refs["main"] = wanted

    @rule(source=names | st.sampled_from(BRANCHES), branch=st.sampled_from(BRANCHES))
    def pick(self, source: str, branch: str) -> None:
        picked, head = self.refs[source], self.refs[branch]
        if ({picked.id} | picked.sources) & head.known():
            with pytest.raises(AlreadyPublishedError):
                cherry_pick(self.table, picked.id, branch=branch)
        elif not picked.appends or picked.fenced:
            with pytest.raises(CherryPickRefusedError):
                cherry_pick(self.table, picked.id, branch=branch)
        else:
            done = cherry_pick(self.table, picked.id, branch=branch)
            self.picked(branch, done, [picked])

    def picked(self, branch: str, done: Commit, picked: list[Snapshot]) -> None:
        added = frozenset().union(*(each.added for each in picked))
        sources = frozenset().union(*({each.id} | each.sources for each in picked))
        rows = self.refs[branch].rows | added
        self.landed(branch, done, rows=rows, added=added, sources=sources)

    @rule(branch=st.sampled_from(BRANCHES[1:]))
    def publish(self, branch: str) -> None:
        way, left = self.judge(branch)
        plan = plan_publish(self.table, branch)
        assert plan.way is way
        assert way is Way.REFUSED or {each.snapshot_id for each in plan.commits} == {
            each.id for each in left
        }
        if way is Way.REFUSED:
            with pytest.raises(BranchDivergedError):
                apply_publish(self.table, plan)
            return
        done = apply_publish(self.table, plan)
        assert done.snapshot_id == self.table.head().snapshot_id
        if way is Way.FAST_FORWARD:
            self.refs["main"] = self.refs[branch]
        elif way is Way.CHERRY_PICK:
            landed = lake_commit(self.table)
            self.picked("main", landed, left)

    def judge(self, branch: str) -> tuple[Way, list[Snapshot]]:
        main, head = self.refs["main"], self.refs[branch]
        mine = set(main.history())
        left = [each for each in head.history() if each not in mine]
        if not left:
            return Way.NOTHING, []
        if main in head.history():
            return Way.FAST_FORWARD, left
        known = main.known()
        left = [s for s in left if s.id not in known and not s.origins() <= known]
        if not left:
            return Way.NOTHING, []
        fine = all(s.appends and not s.fenced and not s.origins() & known for s in left)
        return (Way.CHERRY_PICK if fine else Way.REFUSED), left

    @rule()
    def take_lease(self) -> None:
        held = leases.lease(self.table, holder="model", ttl_s=3600)
        self.leases.append((held, self.refs["main"]))

    @rule()
    def release_lease(self) -> None:
        if self.leases:
            held, _ = self.leases.pop(0)
            leases.release(self.table, held)

    @invariant()
    def every_ref_reads_what_the_model_says(self) -> None:
        if not self.refs:
            return
        listed = {ref.name: ref.snapshot_id for ref in refs.refs(self.table) if ref.kind != "lease"}
        assert listed == {name: ref.id for name, ref in self.refs.items()}
        for snapshot in set(self.refs.values()):
            version = self.table.at(snapshot_id=snapshot.id)
            ids = version.to_arrow(columns=["id"]).column("id").to_pylist()
            assert len(ids) == len(set(ids))
            assert set(ids) == snapshot.rows
        assert operations.offsets(self.table.head(), "log").get("s", 0) == self.refs["main"].offset

    @invariant()
    def what_is_leased_is_there(self) -> None:
        alive = {each.snapshot_id for each in self.table.iceberg().metadata.snapshots}
        for _, held in self.leases:
            assert held.id in alive
            main = list(self.refs["main"].history())
            if held in main:
                assert {each.id for each in main[: main.index(held)]} <= alive


def lake_commit(table: LakeTable) -> Commit:
    """Say which commit is the head, for a publish that made one."""
    head = table.head()
    return Commit(
        table=table.name,
        snapshot_id=head.snapshot_id or 0,
        parent_id=None,
        operation="append",
        files_added=0,
        files_removed=0,
        rows_added=0,
        rows_removed=0,
        bytes_added=0,
        bytes_removed=0,
        attempts=1,
    )


TestRefsMachine = RefsMachine.TestCase
TestRefsMachine.settings = settings(
    max_examples=examples(12, few=5),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
