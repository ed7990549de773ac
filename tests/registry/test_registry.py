"""The control database: commits, edges and builds."""

from headrace.registry import Build, CommitRecord, LeaseRecord, Measure, Registry, SealedSource


def commit(table: str, snapshot_id: int, **facts: object) -> CommitRecord:
    values = {
        "parent_id": None,
        "sequence_number": snapshot_id,
        "committed_at_ms": snapshot_id,
        "operation": "append",
        **facts,
    }
    return CommitRecord(table=table, snapshot_id=snapshot_id, **values)  # pyright: ignore[reportArgumentType]


def test_recording_a_commit_twice_changes_nothing(registry: Registry) -> None:
    registry.record_commit(commit("raw.a", 1, partitions=('["2024-05-01"]',)))
    registry.record_commit(commit("raw.a", 1))
    assert registry.commits("raw.a") == [commit("raw.a", 1, partitions=('["2024-05-01"]',))]


def test_edges_come_from_the_latest_commit_that_names_inputs(registry: Registry) -> None:
    registry.record_commit(commit("features.f", 1, inputs={"raw.a": 10}))
    registry.record_commit(commit("features.f", 2, inputs={"raw.a": 11, "raw.b": 20}))
    registry.record_commit(commit("features.f", 3, operation="replace"))
    edges = [
        (e.source, e.source_snapshot_id, e.target, e.target_snapshot_id) for e in registry.edges()
    ]
    assert edges == [("raw.a", 11, "features.f", 2), ("raw.b", 20, "features.f", 2)]


def test_a_newer_build_of_a_partition_replaces_the_older(registry: Registry) -> None:
    def build(snapshot_id: int, day: str = '["2024-05-01"]') -> Build:
        return Build(
            table="samples.s",
            partition=day,
            snapshot_id=snapshot_id,
            inputs={"raw.a": snapshot_id},
            code="c",
            watermarks={},
        )

    registry.record_builds([build(1), build(2, '["2024-05-02"]')])
    registry.record_builds([build(3)])
    registry.record_builds([])
    found = registry.builds("samples.s")
    assert {key: each.snapshot_id for key, each in found.items()} == {
        '["2024-05-01"]': 3,
        '["2024-05-02"]': 2,
    }


def test_commits_since_a_time_are_the_newest_and_at_most_as_many_as_asked_for(
    registry: Registry,
) -> None:
    for number in range(1, 9):
        registry.record_commit(commit("raw.a", number))
        registry.record_commit(commit("raw.b", number))
    found = registry.commits_since("raw.a", 5, limit=100)
    assert [record.snapshot_id for record in found] == [8, 7, 6, 5]
    assert {record.table for record in found} == {"raw.a"}
    assert [r.snapshot_id for r in registry.commits_since("raw.a", 0, limit=2)] == [8, 7]
    assert registry.commits_since("raw.a", 9, limit=2) == []


def test_moves_since_a_time_are_the_newest_without_those_that_are_too_long(
    registry: Registry,
) -> None:
    for number in range(1, 9):
        registry.record_commit(commit("raw.a", number, moves="{}" if number % 2 else "{" + " " * 9))
        registry.record_commit(commit("raw.b", number, moves="other"))
    found = registry.moves_since("raw.a", 4, limit=100, chars_max=9)
    assert found == [(7, "{}"), (5, "{}")]
    assert len(registry.moves_since("raw.a", 4, limit=2, chars_max=10)) == 2
    assert registry.moves_since("raw.a", 9, limit=2, chars_max=10) == []


def test_times_of_commits_are_found_by_sequence_number_however_many(registry: Registry) -> None:
    for number in range(1, 8):
        registry.record_commit(commit("raw.a", number, committed_at_ms=number * 10))
    assert registry.commit_times("raw.a", [3, 5, 99]) == {3: 30, 5: 50}
    assert registry.commit_times("raw.a", range(2_000)) == {n: n * 10 for n in range(1, 8)}
    assert registry.commit_times("raw.b", [3]) == {}
    assert registry.commit_times("raw.a", []) == {}


def test_a_line_of_commits_ends_where_it_was_asked_to_or_the_log_has_a_hole(
    registry: Registry,
) -> None:
    made = {n: commit("raw.a", n, parent_id=n - 1) for n in range(3, 8) if n != 4}
    for record in (
        *made.values(),
        commit("raw.b", 4, parent_id=3),
        commit("raw.a", 9, parent_id=6),
    ):
        registry.record_commit(record)
    assert registry.line_to("raw.a", 7) == {n: made[n] for n in (7, 6, 5)}
    assert registry.line_to("raw.a", 7, back_to=5) == {n: made[n] for n in (7, 6)}
    assert registry.line_to("raw.a", 7, back_to=7) == {}
    assert registry.line_to("raw.a", 8) == {}


def test_a_measure_is_the_last_one_taken(registry: Registry) -> None:
    assert registry.measures("raw.a") == {}
    registry.record_measure("raw.a", "orphan_bytes", 10, measured_at_ms=1)
    registry.record_measure("raw.a", "orphan_bytes", 7, measured_at_ms=2)
    registry.record_measure("raw.b", "orphan_bytes", 99, measured_at_ms=3)
    assert registry.measures("raw.a") == {"orphan_bytes": Measure(value=7, measured_at_ms=2)}
    assert registry.measures_of_all() == {
        "raw.a": {"orphan_bytes": Measure(value=7, measured_at_ms=2)},
        "raw.b": {"orphan_bytes": Measure(value=99, measured_at_ms=3)},
    }


def test_what_a_commit_moved_and_published_is_told_by_itself_alone(registry: Registry) -> None:
    record = commit("raw.a", 1, moves='{"owner": ["a", "b"]}', origins=("audit x", "snapshot 9"))
    assert registry.record_commit(record)
    assert registry.commit("raw.a", 1) == record
    assert registry.commits("raw.a") == [commit("raw.a", 1)]
    assert registry.commit_from("raw.a", "audit x") == 1


def test_a_commit_off_main_counts_once_it_is_gained(registry: Registry) -> None:
    assert registry.record_commit(commit("raw.a", 1), on_main=False)
    assert not registry.record_commit(commit("raw.a", 1), on_main=False)
    assert registry.commits("raw.a") == []
    registry.move_main("raw.a", gained=[1])
    assert registry.knows_commit("raw.a", 1, on_main=True)
    registry.move_main("raw.a", lost=[1])
    registry.move_main("raw.a", lost=[1])
    assert not registry.knows_commit("raw.a", 1, on_main=True)
    assert registry.knows_commit("raw.a", 1)


def test_a_version_number_is_claimed_once_and_settled_once(registry: Registry) -> None:
    assert registry.claim_dataset("ctr", 1, lockfile="one")
    assert not registry.claim_dataset("ctr", 1, lockfile="two")
    registry.settle_dataset("ctr", 1, state="published")
    registry.settle_dataset("ctr", 1, state="abandoned")
    (found,) = registry.datasets("ctr")
    assert (found.state, found.lockfile) == ("published", "one")


def test_a_lease_is_renewed_and_ended_ones_are_deleted(registry: Registry) -> None:
    def lease(lease_id: str, holder: str, *, ends_at_ms: int) -> LeaseRecord:
        return LeaseRecord(
            lease_id=lease_id, table="raw.a", snapshot_id=1, holder=holder, ends_at_ms=ends_at_ms
        )

    registry.record_lease(lease("one", "me", ends_at_ms=10), now_ms=5)
    registry.record_lease(lease("one", "you", ends_at_ms=20), now_ms=15)
    assert registry.lease_holders("raw.a") == {"one": "you"}
    registry.record_lease(lease("two", "me", ends_at_ms=50), now_ms=30)
    assert registry.lease_holders("raw.a") == {"two": "me"}
    registry.forget_lease("two")
    assert registry.lease_holders("raw.a") == {}


def test_the_youngest_seal_of_a_line_says_how_far_a_source_was_taken(registry: Registry) -> None:
    ledger, seal = registry.sources, None
    for records in (3, 9, 5):
        taken = [SealedSource("a.csv", records, fingerprint="f")]
        seal = ledger.seal("raw.a", "clicks", taken, after=seal)
    assert seal is not None
    assert ledger.find(seal, ["a.csv", "b.csv"]) == {
        "a.csv": SealedSource("a.csv", 5, fingerprint="f")
    }
    assert len(ledger.with_content(seal, ["f"])) == 3
    assert ledger.count(seal) == 1
    ledger.note_seen([SealedSource("a.csv", 5, fingerprint="f", changed_ns=7, inode=8)])
    assert ledger.find(seal, ["a.csv"])["a.csv"].inode == 8
