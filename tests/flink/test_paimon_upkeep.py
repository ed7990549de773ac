"""Tables of Paimon are in the maintenance queue: what no writer compacts, and what expires; Flink does both."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import PaimonReadError
from headrace.flink import paimon_upkeep
from headrace.flink.paimon_ties import Ties, ties_of
from headrace.flink.paimon_upkeep import PaimonUpkeep, paimon_actions
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.expiry import GUARD
from headrace.interop.paimon.facts import PaimonFiles, PaimonRetention
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.summary import UNMERGED_MAX, PaimonSummary
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.take import take_changes
from headrace.interop.paimon.token import Token
from headrace.maintenance.queue.actions import Action, Executor, Kind, Waiting
from headrace.maintenance.queue.maintain import maintain
from headrace.maintenance.queue.perform import Outcome
from headrace.maintenance.queue.schedule import plan_maintenance
from infra.launcher.cluster import Cluster
from tests.flink.keyed_tables import SHORT, note_keyed, note_taken, with_warehouse
from tests.flink.replies import answering
from tests.interop.test_expiry import HISTORY, NOW_MS
from tests.interop.warehouses import users
from tests.raising import refused

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
CREATED_MS = 5


def table(*, unmerged: int, name: str = "k.users") -> PaimonSummary:
    files = PaimonFiles(
        files=unmerged + 1, bytes=1000, unmerged=unmerged, unmerged_per_bucket_max=unmerged
    )
    return PaimonSummary(table=name, keys=("id",), snapshot_id=20, files=files)


def old_table(**more: Any) -> PaimonSummary:  # noqa: ANN401  (of a summary)
    """Return a table of 20 snapshots, none of which it keeps itself."""
    found = dataclasses.replace(
        table(unmerged=0),
        snapshots=20,
        oldest_snapshot_id=1,
        history=HISTORY,
        retention=PaimonRetention(age_ms=0, count=1, consumers={}),
        created_ms=CREATED_MS,
    )
    return dataclasses.replace(found, **more)


def token(*, snapshot_id: int) -> Token:
    return Token(
        table="k.users",
        taken_as="changes",
        snapshot_id=snapshot_id,
        committed_at_ms=0,
        reached_ms=0,
    )


def ties(tokens: dict[str, int], *, unread: tuple[str, ...] = ()) -> Ties:
    return Ties(
        tokens={name: token(snapshot_id=at) for name, at in tokens.items()},
        keyed=frozenset({("k.users", CREATED_MS)}),
        unread=unread,
    )


def due(
    found: PaimonSummary, known: Ties, *, has_flink: bool = True, keep: int = 5
) -> list[Action | Waiting]:
    return list(paimon_actions([found], known, has_flink=has_flink, keep=keep, now_ms=NOW_MS))


def test_a_table_with_many_files_to_merge_is_compacted_by_flink_in_its_place_of_the_queue() -> None:
    found = [table(unmerged=UNMERGED_MAX), table(unmerged=20, name="k.items")]
    more = paimon_actions(found, Ties(), has_flink=True, keep=5, now_ms=NOW_MS)
    (action,) = plan_maintenance((), others=more, now=NOW).actions
    assert action.key == ("paimon:k.items", "compact Paimon table", "")
    assert (action.executor, action.cost_bytes) == (Executor.FLINK, 1000)
    assert action.gain_s > 0


@pytest.mark.parametrize(
    ("tokens", "has_flink", "said"),
    [
        ({"raw.users": 20}, False, "no Flink is named"),
        ({"raw.users": 19}, True, "`raw.users` lacks snapshots"),
    ],
)
def test_it_waits_for_a_flink_and_for_imports(
    tokens: dict[str, int], has_flink: bool, said: str
) -> None:
    (only,) = due(table(unmerged=20), ties(tokens), has_flink=has_flink)
    assert isinstance(only, Waiting)
    assert said in only.reason
    assert only.remedy is not None
    (only,) = due(table(unmerged=20), ties(dict.fromkeys(tokens, 20)))
    assert isinstance(only, Action)


def test_a_keyed_table_is_compacted_whatever_was_taken_since_that_expires_nothing() -> None:
    both = due(old_table(files=table(unmerged=20).files), ties({"raw.users": 3}))
    assert [each.kind for each in both if isinstance(each, Action)] == [
        Kind.PAIMON,
        Kind.PAIMON_EXPIRE,
    ]


def test_snapshots_of_a_keyed_table_expire_by_flink_in_their_place_of_the_queue() -> None:
    (action,) = plan_maintenance(
        (), others=due(old_table(), ties({"raw.users": 9})), now=NOW
    ).actions
    assert action.key == ("paimon:k.users", "expire Paimon snapshots", "")
    assert (action.executor, action.cost_bytes) == (Executor.FLINK, 0)
    assert "those from 9 on are kept" in action.reason
    assert action.since_ms == HISTORY[0].committed_at_ms


@pytest.mark.parametrize(
    ("known", "has_flink", "said", "command"),
    [
        (ties({}), False, "no Flink is named", ""),
        (ties({}, unread=("raw.a",)), True, "what `raw.a` took of it is not known", ""),
        (
            ties({"raw.users": 1}),
            True,
            "15 snapshots stay that `raw.users` has not read",
            "headrace paimon import k.users --to raw.users",
        ),
    ],
)
def test_expiry_waits_for_a_flink_and_for_readers_and_says_for_which(
    known: Ties, has_flink: bool, said: str, command: str
) -> None:
    (only,) = due(old_table(), known, has_flink=has_flink)
    assert isinstance(only, Waiting)
    assert said in only.reason
    if command:
        assert only.remedy is not None
        assert only.remedy.line == command


ALL_OLD = PaimonRetention(age_ms=0, count=1, consumers={})


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        (dataclasses.replace(ALL_OLD, age_ms=None, age="PT1H"), "`PT1H`, which is not understood"),
        (
            dataclasses.replace(ALL_OLD, changelogs="changelog.time-retained"),
            "changelogs of its own (`changelog.time-retained`)",
        ),
    ],
)
def test_a_table_of_which_nothing_can_expire_says_why(
    retention: PaimonRetention, said: str
) -> None:
    (only,) = due(old_table(retention=retention), ties({}))
    assert isinstance(only, Waiting)
    assert said in only.reason
    assert only.remedy is not None


@pytest.mark.parametrize(
    ("consumers", "tokens", "advice"),
    [
        ({}, {"raw.users": 4}, "headrace paimon import k.users --to raw.users"),
        ({"headrace-raw-users": 5}, {"raw.users": 7}, "CALL sys.reset_consumer"),  # it is past
        ({"headrace-raw-gone": 5}, {"raw.users": 7}, "CALL sys.reset_consumer"),
    ],
)
def test_who_holds_the_rest_is_named_also_where_some_expire(
    consumers: dict[str, int], tokens: dict[str, int], advice: str
) -> None:
    retention = dataclasses.replace(ALL_OLD, consumers=consumers)
    action, waiting = due(old_table(retention=retention), ties(tokens))
    assert isinstance(action, Action)
    assert isinstance(waiting, Waiting)
    assert f"`{next(iter(consumers or tokens))}` has not read" in waiting.reason
    assert waiting.remedy is not None
    assert advice in f"{waiting.remedy.line} {waiting.remedy.advice}"


def test_what_was_taken_of_a_table_before_it_was_made_again_holds_nothing_of_it() -> None:
    known = ties({"raw.users": 4})
    former = dataclasses.replace(known.tokens["raw.users"], created_ms=CREATED_MS - 1)
    (action,) = due(old_table(), dataclasses.replace(known, tokens={"raw.users": former}))
    assert isinstance(action, Action)
    own = dataclasses.replace(former, created_ms=CREATED_MS)
    assert len(due(old_table(), dataclasses.replace(known, tokens={"raw.users": own}))) == 2


def test_a_table_that_no_job_of_the_lake_writes_is_left_to_its_writers() -> None:
    assert due(old_table(), Ties()) == []
    assert due(old_table(created_ms=CREATED_MS + 1), ties({})) == []  # dropped, and made again


@pytest.mark.parametrize("kind", [Kind.PAIMON, Kind.PAIMON_EXPIRE])
def test_what_was_planned_is_left_where_a_reader_lacks_it_by_now(
    kind: Kind, lake: Lake, tmp_path: Path
) -> None:
    is_expiry = kind is Kind.PAIMON_EXPIRE
    written = users(tmp_path / "paimon", **(SHORT if is_expiry else {}))
    for each in range(5 if is_expiry else UNMERGED_MAX + 2):
        written.put(1, each + 2, name=f"n{each}")
    target = TableName.parse("raw.users")
    take_changes(lake, written.table(), target)
    if is_expiry:
        note_keyed(lake, target, written.table())
    with answering({}) as (address, asked):
        access = FlinkAccess(uri=address, gateway_uri=address)
        few = dataclasses.replace(
            lake.settings, flink=access, paimon_warehouse=str(written.folder), snapshots_kept=1
        )
        with Lake.open(few) as opened:
            upkeep = PaimonUpkeep(lake=opened)
            (action,) = upkeep.proposed()
            assert isinstance(action, Action)
            assert action.kind is kind
            if is_expiry:
                note_taken(opened, target, snapshot_id=1)
            else:
                written.put(1, name="later")
            assert upkeep.perform(action) == ""
    assert asked == []


@pytest.mark.parametrize("begins", [True, False])
def test_a_reader_that_begins_or_cannot_be_read_while_the_guard_is_set_is_heard(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begins: bool
) -> None:
    written, target = users(tmp_path / "paimon", **SHORT), TableName.parse("raw.users")
    for each in range(5):
        written.put(1, each + 2, name=f"n{each}")
    take_changes(lake, written.table(), target)
    note_keyed(lake, target, written.table())
    if not begins:
        note_taken(lake, target, snapshot_id=2)
    hold = PaimonTable.hold

    def late(table: PaimonTable, consumer: str, *, from_snapshot_id: int) -> None:
        hold(table, consumer, from_snapshot_id=from_snapshot_id)
        if begins:
            note_taken(lake, target, snapshot_id=2)
        else:
            unread = dataclasses.replace(ties_of(lake), tokens={}, unread=("raw.users",))
            monkeypatch.setattr(paimon_upkeep, "ties_of", lambda _lake: unread)

    monkeypatch.setattr(PaimonTable, "hold", late)
    with answering({}) as (address, asked):
        few = dataclasses.replace(
            lake.settings,
            flink=FlinkAccess(uri=address, gateway_uri=address),
            paimon_warehouse=str(written.folder),
            snapshots_kept=1,
        )
        with Lake.open(few) as opened:
            upkeep = PaimonUpkeep(lake=opened)
            (action,) = (each for each in upkeep.proposed() if isinstance(each, Action))
            assert upkeep.perform(action) == ""
    assert asked == []
    assert written.table().consumers() == {GUARD: 2}


def test_a_table_that_was_dropped_between_two_looks_is_a_named_error(tmp_path: Path) -> None:
    written = users(tmp_path / "paimon")
    found = written.table()
    (written.path / "schema" / "schema-0").unlink()
    with refused(PaimonReadError, table="k.users"):
        found.created_ms()


@pytest.mark.flink
def test_a_round_of_maintenance_compacts_a_table_and_a_second_finds_nothing_to_do(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    settings = with_warehouse(settings, cluster, tmp_path / "paimon")
    written = users(tmp_path / "paimon", **{"write-only": "true"})
    for each in range(UNMERGED_MAX + 2):
        written.put(1, each + 2, name=f"n{each}")

    def rows() -> list[tuple[object, object]]:
        now = PaimonWarehouse.open(settings).table("k.users")
        found = [row for b in state_rows(now, now.snapshots()[-1]) for row in b.to_pylist()]
        return sorted((row["id"], row["name"]) for row in found)

    before = rows()
    with Lake.open(settings) as lake:
        upkeep = PaimonUpkeep(lake=lake)
        (done,) = maintain(lake, others=upkeep).results
        assert (done.action.kind, done.outcome) == (Kind.PAIMON, Outcome.DONE)
        assert done.detail == "10 unmerged files of one bucket → 0"
        assert maintain(lake, others=upkeep).results == ()
        assert upkeep.perform(done.action) == ""
    assert rows() == before
