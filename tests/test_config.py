"""Settings: found, overridden, and refused with the place and the allowed values."""

from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.errors import SettingReason, SettingsError
from tests.raising import refused

STREAM = """\
stream: b
table: raw.b
source: {files: "b/*.csv"}
format: csv
event_time: at
fields: {at: {type: timestamptz, required: true}}
"""


def lake_file(folder: Path, text: str) -> Path:
    (folder / "lake").mkdir()
    file = folder / "lake" / "lake.toml"
    file.write_text(text)
    return file


def test_state_and_data_lie_below_the_lake_by_default(tmp_path: Path) -> None:
    loaded = Settings.load(env={}, path=lake_file(tmp_path, "[profiles.local]\n"))
    assert loaded.root == tmp_path
    assert loaded.state_dir == tmp_path / ".headrace"
    assert loaded.data_dir == tmp_path / ".headrace" / "data"


def test_the_environment_moves_state_and_data(tmp_path: Path) -> None:
    env = {"HEADRACE_STATE_DIR": "elsewhere", "HEADRACE_DATA_DIR": str(tmp_path / "logs")}
    loaded = Settings.load(env=env, path=lake_file(tmp_path, "[profiles.local]\n"))
    assert loaded.state_dir == tmp_path / "elsewhere"
    assert loaded.data_dir == tmp_path / "logs"


def test_the_nearest_lake_above_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_file(tmp_path, "[profiles.local]\nthreads = 7\n")
    deep = tmp_path / "dbt_project" / "models"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert Settings.load(env={}).threads == 7


def test_declarations_lie_beside_the_settings_file_whatever_its_folder_is_called(
    tmp_path: Path,
) -> None:
    lake_file(tmp_path, "[profiles.local]\n")
    (tmp_path / "lake2" / "streams").mkdir(parents=True)
    (tmp_path / "lake2" / "streams" / "b.yaml").write_text(STREAM)
    file = tmp_path / "lake2" / "lake.toml"
    file.write_text("[profiles.local]\nstate_dir = 'state2'\n")
    loaded = Settings.load(env={"HEADRACE_LAKE": str(file)})
    assert loaded.declarations == tmp_path / "lake2"
    assert loaded.root == tmp_path
    assert list(load_streams(loaded)) == ["b"]


@pytest.mark.parametrize(
    ("text", "setting", "reason"),
    [
        ("[profiles.local]\nengine = 'none'\n", "profiles.local.engine", SettingReason.NOT_ALLOWED),
        (
            "[profiles.local]\nthread = 2\n",
            "profiles.local.thread",
            SettingReason.UNKNOWN,
        ),
        (
            "[profiles.local]\nthreads = 'two'\n",
            "profiles.local.threads",
            SettingReason.NOT_ALLOWED,
        ),
        ("[profiles.local]\nthreads = 0\n", "profiles.local.threads", SettingReason.NOT_ALLOWED),
        ("[profiles.local]\nthreads = true\n", "profiles.local.threads", SettingReason.NOT_ALLOWED),
        ("profile = 'cluster'\n[profiles.local]\n", "profiles.cluster", SettingReason.MISSING),
        ("[profiles.local\n", "lake.toml", SettingReason.UNREADABLE),
        ("profiles = 1\n", "profiles.local", SettingReason.MISSING),
        ("[profiles]\nlocal = 3\n", "profiles.local", SettingReason.MISSING),
        ("profile = ['a']\n[profiles.a]\n", "profiles.['a']", SettingReason.MISSING),
    ],
)
def test_a_wrong_setting_names_the_place_and_what_is_allowed(
    tmp_path: Path, text: str, setting: str, reason: SettingReason
) -> None:
    file = lake_file(tmp_path, text)
    with refused(SettingsError, reason=reason) as caught:
        Settings.load(env={}, path=file)
    assert caught.value.setting.endswith(setting)
    assert str(file) in str(caught.value)


def test_no_lake_at_all_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(SettingsError, setting="HEADRACE_LAKE", reason=SettingReason.MISSING):
        Settings.load(env={})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = lake_file(tmp_path, "")
    file.write_bytes(b"\xff\xfe")
    with refused(SettingsError, setting=str(file), reason=SettingReason.UNREADABLE):
        Settings.load(env={}, path=file)


@pytest.mark.parametrize("name", ["a#b", "a%20b", "a?b", 'a"b', "a\\b"])
def test_a_state_folder_whose_name_would_lead_elsewhere_is_refused(
    tmp_path: Path, name: str
) -> None:
    file = lake_file(tmp_path, "[profiles.local]\n")
    with refused(SettingsError, setting="HEADRACE_STATE_DIR", reason=SettingReason.NOT_ALLOWED):
        Settings.load(env={"HEADRACE_STATE_DIR": name}, path=file)


def test_the_registry_is_a_file_or_on_the_server_that_is_named(tmp_path: Path) -> None:
    file = lake_file(tmp_path, "[profiles.local]\n")
    assert Settings.load(env={}, path=file).registry_server is None
    uri = "postgresql://me:secret@there:5432/lake"
    loaded = Settings.load(env={"HEADRACE_REGISTRY_URI": uri}, path=file)
    assert loaded.registry_uri == uri
    assert "secret" not in repr(loaded)
    file.write_text('[profiles.local]\nregistry_uri = "postgresql://me@there/lake"\n')
    assert Settings.load(env={}, path=file).registry_uri == "postgresql://me@there/lake"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me@there:port/lake",
        "postgresql://me:secret@there/lake",  # the file is shared
        "postgresql://me@there/lake?password=secret",
        "mysql://me:secret@there/lake",
        "postgresql://me:secret@there",
        "postgresql://[secret",
        "secret",
    ],
)
def test_a_registry_that_may_not_be_named_so_is_refused_and_never_repeated(
    tmp_path: Path, uri: str
) -> None:
    file = lake_file(tmp_path, f'[profiles.local]\nregistry_uri = "{uri}"\n')
    with pytest.raises(SettingsError) as caught:
        Settings.load(env={}, path=file)
    assert "secret" not in str(caught.value)
    assert "registry_uri" in str(caught.value)
