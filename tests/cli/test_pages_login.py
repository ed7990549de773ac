"""`headrace ui` opens pages to other machines with a login only."""

from pathlib import Path

import pytest

from headrace.cli.pages_login import read_login, refuse_open_pages
from headrace.errors import SettingReason, SettingsError
from tests.cli.test_help import headrace
from tests.conftest import ROOT
from tests.raising import refused

LOGIN = {
    "redirect_uri": "https://lake.example.com/oauth2callback",
    "cookie_secret": "not-to-be-repeated-in-any-message",
    "client_id": "headrace",
    "client_secret": "not-to-be-repeated-either",
    "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
}


def write(folder: Path, **changes: str) -> Path:
    file = folder / "login.toml"
    said = {name: value for name, value in {**LOGIN, **changes}.items() if value}
    file.write_text("[auth]\n" + "".join(f'{name} = "{value}"\n' for name, value in said.items()))
    return file


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "::", "lake.example.com", ""])
def test_an_address_that_others_reach_is_refused_without_a_login(address: str) -> None:
    with refused(SettingsError, setting="--login", reason=SettingReason.MISSING):
        refuse_open_pages(address, operators=[])


def test_this_machine_needs_no_login_and_has_local_operators_only() -> None:
    for address in ("127.0.0.1", "::1", "localhost"):
        refuse_open_pages(address, operators=["local"])
    with refused(SettingsError, setting="--operator", reason=SettingReason.NEEDS_ANOTHER):
        refuse_open_pages("127.0.0.1", operators=["local", "ann@example.com"])
    with refused(SettingsError, setting="--reader", reason=SettingReason.NEEDS_ANOTHER):
        refuse_open_pages("127.0.0.1", operators=[], readers=["@example.com"])


def test_a_whole_login_gives_the_host_that_browsers_know(tmp_path: Path) -> None:
    assert read_login(write(tmp_path)) == "lake.example.com"
    local = write(tmp_path, redirect_uri="http://localhost:8501/oauth2callback")
    assert read_login(local) == "localhost"


@pytest.mark.parametrize("key", LOGIN)
def test_a_login_that_lacks_a_key_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    with refused(SettingsError, setting=key, reason=SettingReason.MISSING):
        read_login(write(tmp_path, **{key: ""}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cookie_secret", "short"),
        ("redirect_uri", "http://lake.example.com/oauth2callback"),
        ("server_metadata_url", "http://id.example.com/.well-known/openid-configuration"),
    ],
)
def test_a_login_that_is_not_safe_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with refused(SettingsError, setting=key, reason=SettingReason.NOT_ALLOWED):
        read_login(write(tmp_path, **{key: value}))


def test_no_message_repeats_what_the_file_holds(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text('[auth]\ncookie_secret = "not-to-be-repeated')
    for file in (broken, tmp_path / "missing.toml", write(tmp_path, client_id="")):
        with pytest.raises(SettingsError) as found:
            read_login(file)
        assert "not-to-be-repeated" not in str(found.value)


@pytest.mark.slow
def test_the_command_refuses_before_it_serves_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    said = headrace("ui", "--address", "0.0.0.0")
    assert said.exit_code == 1
    assert "would have no login" in said.stderr
    assert "--login FILE" in said.stderr
