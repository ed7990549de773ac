"""Checking whole files: a flipped bit anywhere is found, and no sound file is refused."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io import load_file_io

from headrace.api import Lake
from headrace.errors import CorruptFileError
from headrace.storage.footer import BODY_MARK
from headrace.storage.pages import check_pages
from tests.raising import refused
from tests.tables.factories import add, events, events_table

IO = load_file_io()

# of a stock writer; the last one's first column outgrows its dictionary, its texts a read
KINDS: dict[str, dict[str, Any]] = {
    "dictionaries": {},
    "pages of version 2": {"data_page_version": "2.0"},
    "plain": {"use_dictionary": False, "compression": "none"},
    "many row groups": {"row_group_size": 100},
    "snappy": {"compression": "snappy", "data_page_size": 500},
}


def _rows(count: int, *, text: str = "") -> pa.Table:
    table = pa.Table.from_batches([events(range(count))])
    scores = [None if i % 7 == 0 else i / 3 for i in range(count)]
    table = table.append_column("score", pa.array(scores, pa.float64()))
    return table.append_column("text", pa.array([f"{text}{i % 5}" for i in range(count)]))


def _write(path: Path, rows: pa.Table, **options: Any) -> Path:  # noqa: ANN401  (pyarrow's own)
    pq.write_table(rows, path, **{"write_page_checksum": True, "compression": "zstd", **options})
    return path


def _flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _pages(content: bytes, path: Path) -> range:
    """The bits between the magic and the footer."""
    return range(32, 8 * (len(content) - pq.read_metadata(path).serialized_size - 8))


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_of_other_writers_pass(tmp_path: Path, kind: str) -> None:
    assert check_pages(str(_write(tmp_path / "f", _rows(1_000), **KINDS[kind])), io=IO)
    assert not check_pages(
        str(_write(tmp_path / "f", _rows(1_000), write_page_checksum=False)), io=IO
    )


@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize("groups", [(0,), (3, 0, 4), ()])
def test_row_groups_without_rows_pass(
    tmp_path: Path, groups: tuple[int, ...], *, use_dictionary: bool
) -> None:
    path, rows = tmp_path / "f", _rows(10)
    with pq.ParquetWriter(
        path, rows.schema, use_dictionary=use_dictionary, write_page_checksum=True
    ) as writer:
        for count in groups:
            writer.write_table(rows.slice(0, count))
    assert check_pages(str(path), io=IO)


def test_pages_of_more_than_one_read_pass(tmp_path: Path) -> None:
    path = _write(tmp_path / "f", _rows(30, text="x" * 300_000), compression="none")
    assert check_pages(str(path), io=IO)
    content = path.read_bytes()
    path.write_bytes(_flipped(content, 8 * (len(content) // 2)))
    with pytest.raises(CorruptFileError):
        check_pages(str(path), io=IO)


def test_any_bit_of_a_file_of_ours_is_checked(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(2_000))
    path = Path(table.head().files()[0].path)
    content, chance = path.read_bytes(), random.Random(15)
    assert check_pages(str(path), io=IO)
    sealed = 8 * content.index(BODY_MARK)
    for bit in [*range(400), *(chance.randrange(sealed) for _ in range(400))]:
        path.write_bytes(_flipped(content, bit))
        with pytest.raises(CorruptFileError) as found:
            check_pages(str(path), io=IO)
        assert found.value.path == str(path)


def test_files_of_ours_from_before_the_checksum_of_all_pages_are_checked_page_by_page(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, range(2_000))
    path = Path(table.head().files()[0].path)
    older = path.read_bytes().replace(BODY_MARK, bytes(len(BODY_MARK)))
    path.write_bytes(older)
    assert check_pages(str(path), io=IO)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    last = (
        (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1
    )
    path.write_bytes(_flipped(older, 8 * last))
    with refused(CorruptFileError, path=str(path)):
        check_pages(str(path), io=IO)


def test_a_flipped_bit_of_a_page_or_its_header_is_found_or_changes_no_value(
    tmp_path: Path,
) -> None:
    rows = _rows(300)
    for number, options in enumerate(KINDS.values()):
        path = _write(tmp_path / f"{number}", rows, **options)
        content, chance = path.read_bytes(), random.Random(number)
        bits = _pages(content, path)
        refused = 0
        for bit in [*bits[:120], *(chance.choice(bits) for _ in range(80))]:
            path.write_bytes(_flipped(content, bit))
            try:
                check_pages(str(path), io=IO)
            except CorruptFileError:
                refused += 1
            else:
                assert _reads_as(rows, path), f"bit {bit} of {options}"
        assert refused > 100


def _reads_as(rows: pa.Table, path: Path) -> bool:
    try:
        return pq.read_table(path).equals(rows)
    except (OSError, pa.ArrowException):
        return True


def test_a_cut_file_is_named_wherever_it_was_cut(tmp_path: Path) -> None:
    path = _write(tmp_path / "f", _rows(1_000))
    content = path.read_bytes()
    for size in range(0, len(content), 997):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptFileError):
            check_pages(str(path), io=IO)
    path.unlink()
    with pytest.raises(CorruptFileError):
        check_pages(str(path), io=IO)
