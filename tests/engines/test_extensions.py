"""The Iceberg reader is loaded again without a check of its signature, and nothing else is."""

import os
import shutil
from importlib.resources import files
from pathlib import Path

import duckdb
import pytest

from headrace.engines import extensions

pytestmark = pytest.mark.slow

NAMES = ("avro", "iceberg")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the extensions' packages that this process has not looked at yet."""
    version = f"v{duckdb.__version__}"
    for name in NAMES:
        package, file = f"duckdb_extension_{name}", f"{name}.duckdb_extension"
        (tmp_path / package / "extensions" / version).mkdir(parents=True)
        source = files(package) / "extensions" / version / file
        shutil.copyfile(str(source), tmp_path / package / "extensions" / version / file)
    monkeypatch.setattr(extensions, "files", lambda package: tmp_path / package)
    return tmp_path


def spoil(path: Path) -> None:
    """Put a file of another signature in the place of one, which a process may have mapped."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def reads_iceberg(connection: duckdb.DuckDBPyConnection) -> bool:
    asked = "select count(*) from duckdb_functions() where function_name = 'iceberg_scan'"
    return connection.execute(asked).fetchone() != (0,)


def test_the_reader_is_there_once_a_database_of_this_process_has_checked_it(
    installed: Path,
) -> None:
    with extensions.open_in_memory() as first:
        assert not reads_iceberg(first)
        extensions.load_iceberg_extension(first)
        assert reads_iceberg(first)
    with extensions.open_in_memory() as second:
        assert reads_iceberg(second)


def test_a_database_that_trusts_the_reader_loads_nothing_else_unsigned(
    installed: Path, tmp_path: Path
) -> None:
    with extensions.open_in_memory() as first:
        extensions.load_iceberg_extension(first)
    forged = tmp_path / "forged.duckdb_extension"
    shutil.copyfile(next(installed.rglob("avro.duckdb_extension")), forged)
    spoil(forged)

    with extensions.open_in_memory() as second:
        with pytest.raises(duckdb.Error):
            second.execute("set allow_unsigned_extensions = true")
        with pytest.raises(duckdb.IOException):
            second.execute(f"load '{forged}'")
        assert second.execute("select current_setting('allow_unsigned_extensions')").fetchone() == (
            False,
        )


def test_a_file_that_was_changed_since_is_checked_again(installed: Path) -> None:
    with extensions.open_in_memory() as first:
        extensions.load_iceberg_extension(first)
    spoil(next(installed.rglob("iceberg.duckdb_extension")))

    with extensions.open_in_memory() as second:
        assert not reads_iceberg(second)
        with pytest.raises(duckdb.IOException):
            extensions.load_iceberg_extension(second)


def test_what_a_database_took_unsigned_is_not_trusted(installed: Path) -> None:
    spoil(next(installed.rglob("iceberg.duckdb_extension")))
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as lenient:
        extensions.load_iceberg_extension(lenient)
    with extensions.open_in_memory() as strict:
        assert not reads_iceberg(strict)


def test_a_file_that_was_replaced_after_a_database_loaded_it_is_not_trusted(
    installed: Path,
) -> None:
    with extensions.open_in_memory() as first:
        extensions.load_iceberg_extension(first)
        spoil(next(installed.rglob("iceberg.duckdb_extension")))
        extensions.load_iceberg_extension(first)  # is loaded, so no file is read
    with extensions.open_in_memory() as second:
        assert not reads_iceberg(second)


def test_a_file_of_equal_size_and_modification_time_is_checked_again(installed: Path) -> None:
    with extensions.open_in_memory() as first:
        extensions.load_iceberg_extension(first)
    path = next(installed.rglob("iceberg.duckdb_extension"))
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:  # the same inode; no database maps this copy any more
        file.seek(len(content) - 1)
        file.write(content[-1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with extensions.open_in_memory() as second:
        assert not reads_iceberg(second)
