"""Where positions are kept: few in the table however many files were taken, and never two truths."""

import json
import random
from collections.abc import Generator, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from headrace.api import Lake
from headrace.errors import FencedError, SourceLedgerError
from headrace.ingest import dead_letters, positions
from headrace.ingest.positions import OPEN_MAX
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import PositionsOf, Records
from headrace.ingest.sources.file_splits import Look, Split
from headrace.ingest.sources.files import FileSource
from headrace.ingest.status import IngestResult, status
from headrace.registry.schema import SOURCE_FILES, SOURCE_SEALS
from headrace.tables.commits import operations
from headrace.tables.history.property_log import SEALED
from headrace.tables.refs import refs
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.ingest.factories import audit, json_line, make_stream
from tests.ingest.processes import exit_code, start_ingester

pytestmark = pytest.mark.slow

STREAM = make_stream("json")
OFFSETS, FILES = "headrace.offsets.things", "headrace.source_files.things"


@pytest.fixture
def few_open(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(positions, "OPEN_MAX", 2)
    return 2


def land(lake: Lake, name: str, *lines: bytes) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def land_many(lake: Lake, names: Sequence[str]) -> None:
    """Files of one good and one bad record each, so that both tables move."""
    for name in names:
        land(lake, name, json_line(id=name), b"{")


def take(lake: Lake) -> IngestResult:
    return ingest(lake, STREAM)


def head_properties(lake: Lake) -> dict[str, str]:
    return dict(lake.table(STREAM.table).head().properties)


def names(count: int, *, prefix: str = "f") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def test_a_table_names_few_of_the_files_it_took_and_knows_them_all(
    lake: Lake, few_open: int
) -> None:
    land_many(lake, names(6))
    assert take(lake).commits == 6 // few_open
    for table in (lake.table(STREAM.table), lake.table(dead_letters.TABLE)):
        offsets = json.loads(table.head().properties[OFFSETS])
        assert SEALED in offsets
        assert 1 <= len(offsets) - 1 <= few_open
    assert len(json.loads(head_properties(lake)[FILES])) <= few_open
    assert take(lake).splits == ()
    said = status(lake, STREAM)
    assert (said.sources_taken, said.sources_waiting, said.dead_letters) == (6, (), 6)
    assert audit(lake, STREAM) == {f"things/{name}.jsonl": 2 for name in names(6)}


def test_sealed_files_that_are_late_grow_or_come_again_are_taken_exactly_once(
    lake: Lake, few_open: int
) -> None:
    del few_open
    land_many(lake, names(4))
    take(lake)
    land_many(lake, ["a_late", "f003x"])
    land(lake, "f001", json_line(id="f001"), b"{", json_line(id="more"), b"[")
    assert sorted(taken.source for taken in take(lake).splits) == [
        "things/a_late.jsonl", "things/f001.jsonl", "things/f003x.jsonl",
    ]  # fmt: skip
    folder = lake.settings.data_dir / "things"
    kept = (folder / "f002.jsonl").read_bytes()
    (folder / "f002.jsonl").unlink()
    assert take(lake).splits == ()
    (folder / "f002.jsonl").write_bytes(kept)
    land_many(lake, names(3, prefix="g"))
    assert take(lake).commits == 2  # of two files at most
    grown = (folder / "f001.jsonl").read_bytes() + json_line(id="last") + b"\n"
    (folder / "f001.jsonl").write_bytes(grown)
    assert take(lake).rows == 1
    counts = {f"things/{name}.jsonl": 2 for name in [*names(4), *names(3, prefix="g")]}
    counts |= {"things/a_late.jsonl": 2, "things/f003x.jsonl": 2, "things/f001.jsonl": 5}
    assert audit(lake, STREAM) == counts
    assert status(lake, STREAM).sources_taken == len(counts)


def test_rolling_back_over_a_seal_takes_the_files_again_and_forward_does_not(
    lake: Lake, few_open: int
) -> None:
    land_many(lake, names(2))
    take(lake)
    table = lake.table(STREAM.table)
    early = head_id(lake)
    land_many(lake, names(6))
    land(lake, "f000", json_line(id="f000"), b"{", json_line(id="grown"))
    take(lake)
    refs.create_branch(table, "late")
    plan = plan_rollback(table, early)
    moved = {move.source: (move.before, move.after) for move in plan.offsets}
    assert moved.pop("things/f000.jsonl") == (3, 2)
    assert moved == {f"things/{name}.jsonl": (2, None) for name in names(6)[2:]}
    apply_rollback(table, plan)
    refs.fast_forward(table, "main", to="late")
    assert take(lake).splits == ()
    # and once more, now with another line of seals in between
    apply_rollback(table, plan_rollback(table, early))
    assert take(lake).commits == -(-5 // few_open)
    assert audit(lake, STREAM)["things/f000.jsonl"] == 3
    apply_rollback(table, plan_rollback(table, early))
    refs.fast_forward(table, "main", to="late")
    assert take(lake).splits == ()
    counts = {f"things/{name}.jsonl": 2 for name in names(6)} | {"things/f000.jsonl": 3}
    assert audit(lake, STREAM) == counts


def test_deleting_rows_brings_no_file_back(lake: Lake, few_open: int) -> None:
    del few_open
    land_many(lake, names(4))
    take(lake)
    operations.overwrite(lake.table(STREAM.table), (), provenance=operations.Provenance())
    assert take(lake).splits == ()
    assert status(lake, STREAM).sources_taken == 4


def test_a_ledger_that_lost_a_seal_stops_the_stream_and_nothing_is_read_twice(
    lake: Lake, few_open: int
) -> None:
    land_many(lake, names(2))
    take(lake)
    table = lake.table(STREAM.table)
    good = head_id(lake)
    land_many(lake, names(6))
    take(lake)
    sealed = json.loads(head_properties(lake)[OFFSETS])[SEALED]
    with lake.registry.engine.begin() as connection:
        lost = sa.select(SOURCE_SEALS.c.after_seal).where(SOURCE_SEALS.c.seal == sealed)
        older = connection.execute(lost).scalar_one()
        connection.execute(sa.delete(SOURCE_SEALS).where(SOURCE_SEALS.c.seal == older))
    before = table.iceberg().metadata_location
    for run in (take, lambda lake: status(lake, STREAM)):
        with pytest.raises(SourceLedgerError) as raised:
            run(lake)
        assert raised.value.seal == sealed
    assert table.iceberg().metadata_location == before
    apply_rollback(table, plan_rollback(table, good))
    assert take(lake).commits == 4 // few_open
    assert audit(lake, STREAM) == {f"things/{name}.jsonl": 2 for name in names(6)}


def test_a_kill_between_a_seal_and_its_commit_changes_nothing(lake: Lake) -> None:
    for name in names(OPEN_MAX):
        land(lake, name, json_line(id=name))
    land_many(lake, ["x", "y"])
    killed = start_ingester(lake.settings, STREAM, rows_per_commit=9, crash_at="ingest.after_seal")
    assert exit_code(killed) == -9
    assert SEALED not in json.loads(head_properties(lake)[OFFSETS])
    with lake.registry.engine.connect() as connection:
        assert connection.execute(sa.select(SOURCE_SEALS.c.seal)).all()
    take(lake)
    assert SEALED in json.loads(head_properties(lake)[OFFSETS])
    assert take(lake).splits == ()
    counts = {f"things/{name}.jsonl": 1 for name in names(OPEN_MAX)}
    assert audit(lake, STREAM) == counts | {"things/x.jsonl": 2, "things/y.jsonl": 2}


class _OvertakenBeforeEach(FileSource):
    """A source where, before each file is read, a rival takes some of what there is, or all."""

    def __init__(self, lake: Lake, *, rival_takes: int) -> None:
        super().__init__(STREAM, data_dir=lake.settings.data_dir)
        self._lake, self._rival = lake, _FirstOnly(lake, rival_takes)

    def read(self, split: Split, *, rows_per_commit: int) -> Generator[Records]:
        with Lake.open(self._lake.settings) as rival:
            ingest(rival, STREAM, source=self._rival)
        yield from super().read(split, rows_per_commit=rows_per_commit)


class _FirstOnly(FileSource):
    """A source that shows its first files only."""

    def __init__(self, lake: Lake, count: int) -> None:
        super().__init__(STREAM, data_dir=lake.settings.data_dir)
        self._count = count

    def look(self, positions: PositionsOf) -> Look:
        found = super().look(positions)
        return replace(found, splits=found.splits[: self._count], unchanged={})


@pytest.mark.parametrize("rival_takes", [4])
def test_of_two_that_seal_at_once_one_is_fenced_and_its_seals_mean_nothing(
    lake: Lake, few_open: int, rival_takes: int
) -> None:
    land_many(lake, names(few_open))
    take(lake)
    land_many(lake, names(few_open + 4))
    with pytest.raises(FencedError):
        ingest(lake, STREAM, source=_OvertakenBeforeEach(lake, rival_takes=rival_takes))
    take(lake)
    assert take(lake).splits == ()
    assert audit(lake, STREAM) == {f"things/{name}.jsonl": 2 for name in names(few_open + 4)}


def as_before(lake: Lake) -> None:
    """Give the table the properties that it had before sources were sealed."""
    table = lake.table(STREAM.table).iceberg()
    files = json.loads(table.properties[FILES])
    with table.transaction() as transaction:
        transaction.remove_properties(FILES)
        sizes = {name: entry[1] for name, entry in files.items()}
        transaction.set_properties({"headrace.source_bytes": json.dumps(sizes)})


def test_a_table_that_still_names_every_file_is_moved_over_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "OPEN_MAX", 10**6)
    land_many(lake, names(2))
    take(lake)
    old = {f"things/old{number}.jsonl": 1 for number in range(500)}
    table = lake.table(STREAM.table)
    for each in (table, lake.table(dead_letters.TABLE)):
        offsets = json.loads(each.head().properties[OFFSETS])
        with each.iceberg().transaction() as transaction:
            transaction.set_properties({OFFSETS: json.dumps(offsets | old)})
    as_before(lake)
    tagged = head_id(lake)
    assert status(lake, STREAM).sources_taken == 502
    monkeypatch.setattr(positions, "OPEN_MAX", OPEN_MAX)
    land_many(lake, names(4))
    assert take(lake).commits == 1
    properties = head_properties(lake)
    assert "headrace.source_bytes" not in properties
    for each in (table, lake.table(dead_letters.TABLE)):
        assert len(json.loads(each.head().properties[OFFSETS])) == 5  # four and the seal
    assert len(json.loads(properties[FILES])) == 4
    assert status(lake, STREAM).sources_taken == 504
    before = table.iceberg().metadata_location
    assert take(lake).splits == ()
    assert table.iceberg().metadata_location == before
    # `main` can be moved to whatever snapshot is there
    apply_rollback(table, plan_rollback(table, tagged))
    assert take(lake).commits == 1
    with lake.registry.engine.connect() as connection:
        count = sa.select(sa.func.count()).where(SOURCE_FILES.c.source.in_(old))
        assert connection.execute(count).scalar() == 2 * len(old)
    assert audit(lake, STREAM) == {f"things/{name}.jsonl": 2 for name in names(4)}


def test_small_former_tables_go_on_where_they_were_and_back(lake: Lake) -> None:
    land_many(lake, names(3))
    take(lake)
    early = head_id(lake)
    land(lake, "f001", json_line(id="f001"), b"{", json_line(id="more"))
    take(lake)
    as_before(lake)
    assert take(lake).splits == ()
    land(lake, "f002", json_line(id="f002"), b"{", json_line(id="more"))
    assert take(lake).rows == 1
    counts = {"things/f000.jsonl": 2, "things/f001.jsonl": 3, "things/f002.jsonl": 3}
    assert audit(lake, STREAM) == counts
    # bytes that belong to other offsets do not count
    apply_rollback(lake.table(STREAM.table), plan_rollback(lake.table(STREAM.table), early))
    assert take(lake).rows == 2
    assert audit(lake, STREAM) == counts


def test_any_order_of_landing_growing_rewinding_and_sealing_takes_every_record_once(
    lake: Lake, few_open: int
) -> None:
    del few_open
    rng = random.Random(7)
    lengths: dict[str, int] = {}
    heads: list[int] = []  # of `main`, as far as it goes now
    for step in range(28):
        deed = rng.choice(["land", "land", "land", "grow", "take", "take", "rewind"])
        if deed == "land":
            lengths[name := f"{rng.choice('abc')}{step:02}"] = rng.randrange(1, 3)
            land(lake, name, *lines(name, lengths[name]))
        elif deed == "grow" and lengths:
            name = rng.choice(sorted(lengths))
            lengths[name] += 1
            land(lake, name, *lines(name, lengths[name]))
        elif deed == "take":
            take(lake)
            heads.append(head_id(lake))
        elif deed == "rewind" and heads:
            rewind(lake, to=rng.choice(heads), and_back=rng.random() < 0.5, name=f"was-{step}")
            heads = [*heads[: heads.index(head_id(lake))], head_id(lake)]
    take(lake)
    assert audit(lake, STREAM) == {f"things/{name}.jsonl": n for name, n in lengths.items()}


def head_id(lake: Lake) -> int:
    found = lake.table(STREAM.table).head().snapshot_id
    assert found is not None
    return found


def rewind(lake: Lake, *, to: int, and_back: bool, name: str) -> None:
    table = lake.table(STREAM.table)
    refs.create_branch(table, name)
    apply_rollback(table, plan_rollback(table, to))
    if and_back:
        refs.fast_forward(table, "main", to=name)


def lines(name: str, count: int) -> list[bytes]:
    return [json_line(id=f"{name}-{at}") if at % 3 else b"{" for at in range(count)]
