"""Every private name of PyIceberg that headrace uses, with what it looks like in the pinned release.

An upgrade that moves one of them fails here, with the list. They are used in `headrace/iceberg` and
nowhere else; there pyright allows it file by file, elsewhere it refuses.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg import manifest
from pyiceberg.avro import file as avro_file
from pyiceberg.catalog import MetastoreCatalog, sql
from pyiceberg.expressions import visitors
from pyiceberg.io import pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import CreateTableTransaction, name_mapping, update

ROOT = Path(__file__).parents[2] / "headrace"
ALLOWED = "# pyright: reportPrivateUsage=false"

# where a name lives, and its parameters; of what is no function, what it is
FUNCTIONS = {
    (avro_file.AvroFile, "_read_header"): "(self)",
    (manifest, "_inherit_from_manifest"): "(entry, manifest)",
    (manifest.ManifestWriter, "_with_partition"): "(self, format_version)",
    (MetastoreCatalog, "_delete_old_metadata"): "(io, base, metadata)",
    (MetastoreCatalog, "_load_file_io"): "(self, properties, location)",
    (MetastoreCatalog, "_parse_metadata_version"): "(metadata_location)",
    (MetastoreCatalog, "_update_and_stage_table"): (
        "(self, current_table, table_identifier, requirements, updates)"
    ),
    (MetastoreCatalog, "_write_metadata"): "(metadata, io, metadata_path)",
    (
        pyarrow,
        "_ConvertToIcebergWithoutIDs",
    ): "(downcast_ns_timestamp_to_us, format_version)",
    (sql.SqlCatalog, "_init_catalog"): "(self)",
    (update, "_apply_table_update"): "(update, base_metadata, context)",
    (update, "_TableMetadataUpdateContext"): "()",
    (update, "_update_table_metadata_log"): "(base_metadata, metadata_location, last_updated_ms)",
    (visitors, "_InclusiveMetricsEvaluator"): (
        "(schema, expr, case_sensitive, include_empty_files)"
    ),
    (visitors, "_StrictMetricsEvaluator"): "(schema, expr, case_sensitive, include_empty_files)",
}
PROPERTIES = {
    (manifest.ManifestWriter, "_meta"),
    (name_mapping.NameMapping, "_field_by_name"),
    (Schema, "_lazy_id_to_field"),
    (Schema, "_lazy_id_to_parent"),
}
ATTRIBUTES = {"_name_to_id", "_table", "_updates", "_schema_version"}  # of objects, not classes


@pytest.mark.parametrize(
    ("home", "name"), FUNCTIONS, ids=lambda each: getattr(each, "__name__", each)
)
def test_a_private_function_has_the_parameters_it_is_called_with(home: object, name: str) -> None:
    parameters = ", ".join(inspect.signature(getattr(home, name)).parameters)
    assert f"({parameters})" == FUNCTIONS[home, name]


@pytest.mark.parametrize(("home", "name"), sorted(PROPERTIES, key=str))
def test_a_private_property_is_there(home: type, name: str) -> None:
    assert name in home.__dict__


def test_private_attributes_of_objects_are_there() -> None:
    assert Schema()._name_to_id == {}
    assert "self._schema_version = " in inspect.getsource(sql.SqlCatalog)
    creating = "".join(map(inspect.getsource, CreateTableTransaction.__mro__[:2]))
    assert "self._table = " in creating
    assert "self._updates" in creating


def test_the_list_is_complete() -> None:
    known = {name for _, name in (*FUNCTIONS, *PROPERTIES)} | ATTRIBUTES
    used = {name for path in (ROOT / "iceberg").glob("*.py") for name in privates_of(path)}
    assert used == known


@pytest.mark.slow
def test_no_other_room_imports_a_private_name_of_pyiceberg() -> None:
    others = [path for path in ROOT.rglob("*.py") if path.parent != ROOT / "iceberg"]
    found = {path.name for path in others if list(imported(path)) or ALLOWED in path.read_text()}
    assert not found


def privates_of(path: Path) -> Iterator[str]:
    """Yield the private names of PyIceberg in a file: imported, overridden, or asked of an object."""
    tree = ast.parse(path.read_text())
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    yield from imported(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and "override" in map(
            ast.unparse, node.decorator_list
        ):
            yield from (each for each in (node.name,) if is_private(each))
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield node.attr


def imported(path: Path) -> Iterator[str]:
    """Yield the private names that a file imports from PyIceberg."""
    text = path.read_text()
    if "pyiceberg" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyiceberg"):
            yield from (each.name for each in node.names if is_private(each.name))


def is_private(name: str) -> bool:
    """Whether a name is private, and no special one such as `__init__`."""
    return name.startswith("_") and not name.startswith("__")
