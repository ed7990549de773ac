"""Write, audit, publish: what reaches main, what does not, and what is left when it does not."""

import multiprocessing
import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    AlreadyPublishedError,
    AuditFailedError,
    BranchDivergedError,
    CherryPickReason,
    CommitConflictError,
    ConflictReason,
    CorruptFileError,
    InvalidNameError,
    ProtectedRefError,
    RefExistsError,
    SnapshotNotFoundError,
)
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Commit, Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.publishing import checks, write_audit_publish
from headrace.tables.publishing.cherry_pick import Holdings
from headrace.tables.publishing.publish import Check, Draft, Way, apply_publish, plan_publish
from headrace.tables.publishing.write_audit_publish import AuditBranch
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

PASSES: dict[str, Check] = {"anything": lambda _: ""}
FAILS: dict[str, Check] = {"rows": lambda _: "there is a hole"}


def write(table: LakeTable, ids: list[int], *, branch: str, day: int = 0) -> Commit:
    files = write_batches(table, [events(ids, day=day)])
    return operations.append(table, files, provenance=Provenance(), branch=branch)


def draft_of(table: LakeTable, *ids: int) -> AuditBranch:
    """Begin an audit and write one commit for each id."""
    draft = write_audit_publish.begin(table, "nightly")
    for each in ids:
        files = write_batches(table, [events([each])])
        operations.append(
            table, files, provenance=draft.provenance(Provenance()), branch=draft.branch
        )
    return draft


def writing(table: LakeTable, *ids: int) -> "write_audit_publish.Callable[[AuditBranch], None]":
    def write_there(draft: AuditBranch) -> None:
        for each in ids:
            files = write_batches(table, [events([each])])
            provenance = draft.provenance(Provenance(inputs={"raw.source": each}, code="c"))
            operations.append(table, files, provenance=provenance, branch=draft.branch)

    return write_there


def test_what_passes_its_checks_is_published_and_its_branch_is_gone(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    seen: list[tuple[list[int], list[int]]] = []

    def look(draft: Draft) -> str:
        new = [each for batch in draft.new_rows(["id"]) for each in batch.column(0).to_pylist()]
        seen.append((sorted(new), ids_of(table)))
        return ""

    done = write_audit_publish.write_audit_publish(
        table, "nightly", write=writing(table, 2, 3), checks={"look": look}
    )
    assert seen == [([2, 3], [1])]
    assert (done.way, done.rows_added) == (Way.FAST_FORWARD, 2)
    assert done.snapshot_id == table.head().snapshot_id
    assert ids_of(table) == [1, 2, 3]
    assert refs.branches(table).keys() == {"main"}
    assert table.head().summary["wap.id"] == "nightly"


def test_what_fails_a_check_stays_on_its_branch_and_main_does_not_have_it(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with refused(AuditFailedError, failures=("rows: there is a hole",)) as failed:
        write_audit_publish.write_audit_publish(
            table, "nightly", write=writing(table, 2), checks=FAILS
        )
    assert "--drop --apply" in str(failed.value)
    assert ids_of(table) == [1]
    assert table.head("audit_nightly").row_count == 2
    with refused(RefExistsError, reason=ConflictReason.REF_EXISTS, ref="audit_nightly"):
        write_audit_publish.write_audit_publish(
            table, "nightly", write=writing(table, 2), checks=PASSES
        )
    refs.apply_drop(table, refs.plan_drop(table, "audit_nightly"))
    write_audit_publish.write_audit_publish(
        table, "nightly", write=writing(table, 2), checks=PASSES
    )
    assert ids_of(table) == [1, 2]


def test_a_branch_that_only_appended_is_picked_when_main_moved_on(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1])
    draft = draft_of(table, 2, 3)
    main = add(table, [10], day=1)
    plan = plan_publish(table, draft.branch, checks=PASSES)
    assert (plan.way, plan.rows_added, len(plan.commits)) == (Way.CHERRY_PICK, 2, 2)
    done = apply_publish(table, plan)
    head = table.head()
    assert ids_of(table) == [1, 2, 3, 10]
    assert (done.snapshot_id, done.rows_added) == (head.snapshot_id, 2)
    assert head.summary["source-snapshot-id"] == str(plan.head_id)
    assert head.summary["published-wap-id"] == "nightly"
    # one commit for readers of main, and nothing of it is new a second time
    assert changes(table, since=main.snapshot_id).operations == ("append",)
    assert changes(table, since=first.snapshot_id).partitions == {day_key(0), day_key(1)}
    assert plan_publish(table, draft.branch).way is Way.NOTHING
    assert apply_publish(table, plan).way is Way.NOTHING
    assert ids_of(table) == [1, 2, 3, 10]


def test_what_a_published_branch_gains_later_is_published_alone(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    draft = draft_of(table, 2)
    add(table, [10])
    apply_publish(table, plan_publish(table, draft.branch))
    write(table, [3], branch=draft.branch)
    plan = plan_publish(table, draft.branch)
    assert plan.rows_added == 1
    apply_publish(table, plan)
    assert ids_of(table) == [1, 2, 3, 10]


def test_a_branch_that_replaced_rows_is_refused_when_main_moved_on(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    draft = draft_of(table, 2)
    operations.overwrite_partitions(
        table, [], partitions=[day_key(0)], provenance=Provenance(), branch=draft.branch
    )
    add(table, [10])
    plan = plan_publish(table, draft.branch, checks=PASSES)
    assert plan.way is Way.REFUSED
    assert not plan
    with refused(BranchDivergedError, reason=CherryPickReason.NOT_AN_APPEND):
        apply_publish(table, plan)
    assert ids_of(table) == [1, 10]
    assert table.head(draft.branch).row_count == 0


def test_a_branch_that_replaced_rows_is_published_where_main_did_not_move(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1], day=0)
    add(table, [2], day=1)
    draft = draft_of(table)
    operations.overwrite_partitions(
        table, [], partitions=[day_key(0)], provenance=Provenance(), branch=draft.branch
    )
    plan = plan_publish(table, draft.branch)
    assert (plan.rows_added, plan.rows_removed) == (0, 1)
    apply_publish(table, plan)
    assert ids_of(table) == [2]


def test_rows_that_came_after_the_audit_are_not_published_with_it(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    draft = draft_of(table, 2)
    for moves_on in (False, True):
        plan = plan_publish(table, draft.branch, checks=PASSES)
        write(table, [666], branch=draft.branch)
        if moves_on:
            add(table, [10])
        with refused(CommitConflictError, reason=ConflictReason.REF_MOVED, ref=draft.branch):
            apply_publish(table, plan)
    assert ids_of(table) == [1, 10]


def test_an_audit_is_published_once_however_long_ago_that_was(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 3})
    with Lake.open(few) as lake:
        table = events_table(lake)
        add(table, [1])
        for audit_id in ("forwarded", "picked"):
            done = write_audit_publish.write_audit_publish(
                table, audit_id, write=writing(table, 2), checks=PASSES
            )
            assert done.rows_added == 1
        for i in range(3, 12):
            add(table, [i])
        for audit_id in ("forwarded", "picked"):
            with refused(AlreadyPublishedError, what=f"audit `{audit_id}`"):
                write_audit_publish.write_audit_publish(
                    table, audit_id, write=writing(table, 2), checks=PASSES
                )
        assert refs.branches(table).keys() == {"main"}


def test_a_rolled_back_audit_may_be_run_again(lake: Lake) -> None:
    from headrace.tables.refs.rollback import apply_rollback, plan_rollback

    table = events_table(lake)
    first = add(table, [1])
    write_audit_publish.write_audit_publish(
        table, "nightly", write=writing(table, 2), checks=PASSES
    )
    apply_rollback(table, plan_rollback(table, first.snapshot_id))
    write_audit_publish.write_audit_publish(
        table, "nightly", write=writing(table, 3), checks=PASSES
    )
    assert ids_of(table) == [1, 3]


def test_a_writer_that_fails_leaves_no_branch(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])

    def fail(draft: AuditBranch) -> None:
        writing(table, 2)(draft)
        raise KeyError("no more input")

    with pytest.raises(KeyError, match="no more input"):
        write_audit_publish.write_audit_publish(table, "nightly", write=fail, checks=PASSES)
    assert refs.branches(table).keys() == {"main"}
    assert ids_of(table) == [1]


def test_commits_that_do_not_say_which_audit_they_are_of_are_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])

    def unmarked(draft: AuditBranch) -> None:
        write(table, [2], branch=draft.branch)

    with pytest.raises(ValueError, match="part of the audit"):
        write_audit_publish.write_audit_publish(table, "nightly", write=unmarked, checks=PASSES)
    assert ids_of(table) == [1]


def test_an_empty_table_gets_its_first_rows_by_an_audit(lake: Lake) -> None:
    table = events_table(lake)
    with pytest.raises(AuditFailedError):
        write_audit_publish.write_audit_publish(table, "one", write=writing(table, 1), checks=FAILS)
    assert ids_of(table) == []
    done = write_audit_publish.write_audit_publish(
        table, "two", write=writing(table, 1), checks=PASSES
    )
    assert (done.way, ids_of(table)) == (Way.FAST_FORWARD, [1])


def test_an_audit_that_wrote_nothing_publishes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    head = add(table, [1])
    done = write_audit_publish.write_audit_publish(
        table, "nightly", write=writing(table), checks=PASSES
    )
    assert (done.way, done.snapshot_id) == (Way.NOTHING, head.snapshot_id)
    assert refs.branches(table).keys() == {"main"}


def test_bad_names_and_unknown_branches_are_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with pytest.raises(InvalidNameError):
        write_audit_publish.begin(table, "../x")
    with refused(SnapshotNotFoundError, wanted="branch `nothing`"):
        plan_publish(table, "nothing")
    with pytest.raises(ProtectedRefError):
        plan_publish(table, "main")


def test_what_was_published_is_in_the_lineage_of_the_table(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    draft = write_audit_publish.begin(table, "nightly")
    writing(table, 2)(draft)
    assert lake.registry.edges() == []
    add(table, [10])
    apply_publish(table, plan_publish(table, draft.branch))
    (edge,) = lake.registry.edges()
    assert (edge.source, edge.source_snapshot_id) == ("raw.source", 2)
    assert edge.target_snapshot_id == table.head().snapshot_id


def rows_with(table: LakeTable, ids: list[int], names: list[str | None]) -> None:
    batch = events(ids).set_column(1, "name", pa.array(names, pa.string()))
    files = write_batches(table, [batch])
    operations.append(table, files, provenance=Provenance(), branch="trial")


def test_checks_say_what_is_wrong_with_the_new_rows(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    refs.create_branch(table, "trial")
    rows_with(table, [2, 3], ["a", None])
    rows_with(table, [1], ["b"])
    plan = plan_publish(
        table,
        "trial",
        checks={
            "enough": checks.rows_at_least(3),
            "more": checks.rows_at_least(4),
            "full": checks.not_null(["id"]),
            "named": checks.not_null(["id", "name"]),
            "once": checks.unique(["id"]),
            "pairs": checks.unique(["id", "name"]),
            "readable": checks.readable(),
        },
    )
    assert {each.check: each.problem for each in plan.findings} == {
        "enough": "",
        "more": "3 rows were written, expected at least 4",
        "full": "",
        "named": "`name` is null in 1 rows",
        "once": "1 values of `id` occur more than once, such as {'id': 1}",
        "pairs": "",
        "readable": "",
    }
    assert len(plan.failures) == 3
    assert not plan


def test_a_damaged_file_is_found_before_it_is_published(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    refs.create_branch(table, "trial")
    write(table, list(range(2, 500)), branch="trial")
    (path,) = {f.path for f in table.head("trial").files()} - {f.path for f in table.head().files()}
    damaged = bytearray(Path(path).read_bytes())
    damaged[len(damaged) // 3] ^= 1
    Path(path).write_bytes(damaged)
    with pytest.raises(CorruptFileError):
        plan_publish(table, "trial", checks={"readable": checks.readable()})


def _publish(settings: Settings, branch: str, said: "multiprocessing.Queue[str]") -> None:
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        try:
            done = apply_publish(table, plan_publish(table, branch))
        except BranchDivergedError:
            said.put("refused")
        else:
            said.put(done.way.value)


def _race(settings: Settings, branches: list[str]) -> list[str]:
    said = CONTEXT.Queue()
    workers = [CONTEXT.Process(target=_publish, args=(settings, name, said)) for name in branches]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    return sorted(said.get(timeout=WAIT_S) for _ in workers)


def test_of_processes_that_publish_one_branch_one_does(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        draft_of(table, 2, 3)
        add(table, [10])
        assert _race(settings, ["audit_nightly"] * 2) == ["cherry-pick", "nothing"]
        assert ids_of(table) == [1, 2, 3, 10]


def test_a_branch_that_is_published_while_it_is_judged_is_found_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry already knows of the commit that the table, as it was read, does not have."""
    with Lake.open(settings) as lake, Lake.open(settings) as other:
        table = events_table(lake)
        add(table, [1])
        draft_of(table, 2, 3)
        add(table, [10])
        plan = plan_publish(table, "audit_nightly")
        held = Holdings.of

        def meanwhile(self: Holdings, picked: CommitRecord) -> dict[int, int]:
            found = held(self, picked)
            monkeypatch.undo()
            apply_publish(other.table(table.name), plan)
            return found

        monkeypatch.setattr(Holdings, "of", meanwhile)
        assert apply_publish(table, plan).way is Way.NOTHING
        assert ids_of(table) == [1, 2, 3, 10]


def test_of_processes_that_publish_two_rewrites_one_wins(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        for name, i in (("left", 2), ("right", 3)):
            refs.create_branch(table, name)
            files = write_batches(table, [events([i])])
            operations.overwrite(table, files, provenance=Provenance(), branch=name)
        assert _race(settings, ["left", "right"]) == ["fast-forward", "refused"]
        assert ids_of(table) in ([2], [3])


def _nightly(settings: Settings, crash_at: str) -> None:
    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        table = lake.table(TableName("raw", "events"))
        write_audit_publish.write_audit_publish(
            table, "nightly", write=writing(table, 2), checks=PASSES
        )


@pytest.mark.parametrize(
    ("crash_at", "published"),
    [
        ("wap.after_write", False),
        ("updates.after_swap:2", True),  # main is moved
        ("wap.after_publish", True),
    ],
)
def test_a_kill_publishes_all_or_nothing_and_the_audit_never_twice(
    settings: Settings, crash_at: str, *, published: bool
) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        killed = CONTEXT.Process(target=_nightly, args=(settings, crash_at))
        killed.start()
        killed.join(120)
        assert killed.exitcode == -signal.SIGKILL
        assert ids_of(table) == ([1, 2] if published else [1])
        if "audit_nightly" in refs.branches(table):
            refs.apply_drop(table, refs.plan_drop(table, "audit_nightly"))
        if published:
            with pytest.raises(AlreadyPublishedError):
                write_audit_publish.write_audit_publish(
                    table, "nightly", write=writing(table, 2), checks=PASSES
                )
        else:
            write_audit_publish.write_audit_publish(
                table, "nightly", write=writing(table, 2), checks=PASSES
            )
        assert ids_of(table) == [1, 2]
        assert len(changes(table, since=None).operations) == 2
        assert len(lake.registry.commits("raw.events")) == 2
