"""The servers of a profile: addresses and secrets from the file, the environment or other files."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.config import Settings
from headrace.errors import SettingReason, SettingsError
from tests.conftest import ROOT
from tests.raising import refused

SHARED = {
    "HEADRACE_PROFILE": "cluster",
    "HEADRACE_CATALOG_URI": "postgresql://me:hidden@there:5432/lake",
    "HEADRACE_WAREHOUSE": "s3://bucket/prefix/",
    "HEADRACE_S3_ENDPOINT": "http://127.0.0.1:9000",
    "HEADRACE_S3_ACCESS_KEY": "key",
    "HEADRACE_S3_SECRET_KEY": "hidden",
    "HEADRACE_TRINO_URI": "https://127.0.0.1:8443",
    "HEADRACE_TRINO_USER": "page",
    "HEADRACE_TRINO_PASSWORD": "hidden",
}


def load(env: dict[str, str], text: str = "[profiles.local]\n", *, folder: Path) -> Settings:
    (folder / "lake").mkdir(exist_ok=True)
    file = folder / "lake" / "lake.toml"
    file.write_text(text)
    return Settings.load(env=env, path=file)


def test_one_variable_moves_catalog_registry_warehouse_and_engine_of_this_lake() -> None:
    found = Settings.load(env=SHARED, path=ROOT / "lake" / "lake.toml")
    assert found.catalog_uri == SHARED["HEADRACE_CATALOG_URI"]
    registry = sa.make_url(found.registry_uri)
    assert registry.password == "hidden"
    assert registry.query == {"options": "-csearch_path=headrace"}
    assert found.warehouse_uri == "s3://bucket/prefix"
    assert found.datasets_uri == "s3://bucket/prefix/.datasets"
    assert found.engine == "trino"
    assert found.trino is not None
    assert (found.trino.uri, found.trino.user, found.trino.catalog) == (
        "https://127.0.0.1:8443",
        "page",
        "lake",
    )
    assert found.s3 is not None
    assert found.s3.file_io()["s3.secret-access-key"] == "hidden"
    assert "hidden" not in repr(found)
    with pytest.raises(ValueError, match="is not a folder of this host"):
        _ = found.warehouse


def test_a_profile_on_servers_is_refused_where_the_environment_does_not_name_them() -> None:
    env = {"HEADRACE_PROFILE": "cluster", "HEADRACE_WAREHOUSE": "/warehouse"}
    with pytest.raises(SettingsError) as found:
        Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
    assert found.value.remedy is not None
    assert "make cluster-up" in found.value.remedy.advice


def test_a_secret_may_lie_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    held = tmp_path / "catalog"
    held.write_text("postgresql://me:hidden@there/lake\n")
    found = load({"HEADRACE_CATALOG_URI_FILE": str(held)}, folder=tmp_path)
    assert found.catalog_uri == "postgresql://me:hidden@there/lake"
    both = {"HEADRACE_CATALOG_URI_FILE": str(held), "HEADRACE_CATALOG_URI": "x"}
    with refused(SettingsError, reason=SettingReason.SET_TWICE):
        load(both, folder=tmp_path)
    held.unlink()
    with refused(
        SettingsError, setting="HEADRACE_CATALOG_URI_FILE", reason=SettingReason.UNREADABLE
    ):
        load({"HEADRACE_CATALOG_URI_FILE": str(held)}, folder=tmp_path)


def test_a_warehouse_is_a_folder_or_a_prefix(tmp_path: Path) -> None:
    here = load({}, folder=tmp_path)
    assert here.warehouse_uri == f"file://{tmp_path}/.headrace/warehouse"
    assert here.datasets_dir == tmp_path / ".headrace" / "datasets"
    shared = load({}, '[profiles.local]\nwarehouse = "tables/"\n', folder=tmp_path)
    assert shared.warehouse == tmp_path / "tables"
    assert shared.datasets_dir == tmp_path / "tables" / ".datasets"
    given = load({"HEADRACE_WAREHOUSE": "file:///mnt/tables"}, folder=tmp_path)
    assert given.warehouse_uri == "file:///mnt/tables"


def test_a_registry_named_by_itself_is_not_looked_for_beside_the_catalog(tmp_path: Path) -> None:
    env = {"HEADRACE_CATALOG_URI": "postgresql://a/b", "HEADRACE_REGISTRY_URI": "postgresql://c/d"}
    assert load(env, folder=tmp_path).registry_uri == "postgresql://c/d"


def test_a_search_path_of_the_catalog_does_not_hide_the_schema_of_the_registry(
    tmp_path: Path,
) -> None:
    env = {"HEADRACE_CATALOG_URI": "postgresql://a/b?options=-csearch_path%3Done&sslmode=require"}
    query = sa.make_url(load(env, folder=tmp_path).registry_uri).query
    # the last of two wins
    assert query["options"] == "-csearch_path=one -csearch_path=headrace"
    assert query["sslmode"] == "require"


@pytest.mark.parametrize(
    ("env", "setting", "reason"),
    [
        ({"HEADRACE_ENGINE": "trino"}, "HEADRACE_TRINO_URI", SettingReason.MISSING),
        ({"HEADRACE_ENGINE": "spark"}, "HEADRACE_ENGINE", SettingReason.NOT_ALLOWED),
        ({"HEADRACE_WAREHOUSE": "gs://bucket"}, "HEADRACE_WAREHOUSE", SettingReason.NOT_ALLOWED),
        ({"HEADRACE_WAREHOUSE": "s3://"}, "HEADRACE_WAREHOUSE", SettingReason.NOT_ALLOWED),
        (
            {"HEADRACE_WAREHOUSE": "/ware#house"},
            "HEADRACE_WAREHOUSE",
            SettingReason.NOT_ALLOWED,
        ),
        ({"HEADRACE_S3_ACCESS_KEY": "hidden"}, "HEADRACE_S3_SECRET_KEY", SettingReason.MISSING),
        (
            {"HEADRACE_S3_ENDPOINT": "127.0.0.1:9000"},
            "HEADRACE_S3_ENDPOINT",
            SettingReason.NOT_ALLOWED,
        ),
        (
            {"HEADRACE_S3_ENDPOINT": "http://me:hidden@there"},
            "HEADRACE_S3_ENDPOINT",
            SettingReason.NOT_ALLOWED,
        ),
        (
            {"HEADRACE_TRINO_URI": "trino://me:hidden@there"},
            "HEADRACE_TRINO_URI",
            SettingReason.NOT_ALLOWED,
        ),
        (
            {"HEADRACE_CATALOG_URI": "mysql://me:hidden@there/lake"},
            "HEADRACE_CATALOG_URI",
            SettingReason.NOT_ALLOWED,
        ),
        (
            {"HEADRACE_ONLINE_STORE_URI": "http://me:hidden@there"},
            "HEADRACE_ONLINE_STORE_URI",
            SettingReason.NOT_ALLOWED,
        ),
        (
            {"HEADRACE_TRINO_URI": "http://there", "HEADRACE_TRINO_PASSWORD": "hidden"},
            "HEADRACE_TRINO_URI",
            SettingReason.NEEDS_ANOTHER,
        ),
    ],
)
def test_what_may_not_be_is_refused_and_no_secret_repeated(
    tmp_path: Path, env: dict[str, str], setting: str, reason: SettingReason
) -> None:
    with refused(SettingsError, setting=setting, reason=reason) as caught:
        load(env, folder=tmp_path)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "scheme"),
    [("catalog_uri", "postgresql"), ("registry_uri", "postgresql"), ("online_store_uri", "redis")],
)
def test_a_shared_file_may_not_hold_a_password(tmp_path: Path, key: str, scheme: str) -> None:
    text = f'[profiles.local]\n{key} = "{scheme}://me:hidden@there/lake"\n'
    with refused(SettingsError, reason=SettingReason.HOLDS_SECRET) as caught:
        load({}, text, folder=tmp_path)
    assert caught.value.setting.endswith(f"profiles.local.{key}")
    assert "hidden" not in str(caught.value)
