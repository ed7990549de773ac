"""Who may see the pages and apply plans: roles, the login that other machines need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit import config

from headrace.api import Lake
from headrace.loopback import is_loopback
from tests.ui.conftest import Open
from tests.ui.factories import fill
from ui.access import OPERATORS, READERS, Visitor, listed, visitor_of

ANN: dict[str, object] = {
    "is_logged_in": True, "email": "Ann@example.com", "email_verified": True,
}  # fmt: skip
TABLE = "dead_letters.records"  # its manifests are due at once


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.1.2.3", True),
        ("0.0.0.0", False), ("10.0.0.1", False), ("example.com", False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_only_addresses_of_this_machine_are_loopback(address: str | None, loopback: bool) -> None:
    assert is_loopback(address) == loopback


def test_an_operator_is_one_whose_verified_address_is_listed() -> None:
    names = listed("ann@example.com, local")
    assert visitor_of({}, operators=frozenset()) == Visitor(role="page")
    assert visitor_of({}, operators=names) == Visitor(role="operator")
    assert visitor_of({"is_logged_in": False}, operators=names) is None
    for user, role in (
        (ANN, "operator"),
        ({**ANN, "email_verified": False}, "page"),
        ({**ANN, "email": "bob@example.com"}, "page"),
        ({"is_logged_in": True, "name": "local"}, "page"),
        ({"is_logged_in": True, "email": ""}, "page"),
        ({"is_logged_in": True, "email": "local"}, "page"),
    ):
        found = visitor_of(user, operators=names)
        assert found is not None
        assert found.role == role, user


@given(st.dictionaries(st.sampled_from(["email", "name", "email_verified"]), st.text()))
def test_nobody_is_an_operator_where_none_is_listed(claims: dict[str, str]) -> None:
    found = visitor_of({"is_logged_in": True, **claims}, operators=listed(" , "))
    assert found is not None
    assert found.role == "page"


def test_readers_are_listed_by_verified_address_or_domain() -> None:
    readers = listed("bob@example.com, @shop.example.org")
    for email, role in (
        ("Bob@example.com", "page"),
        ("eve@example.com", "stranger"),
        ("eve@shop.example.org", "page"),
        ("eve@evil.shop.example.org", "stranger"),
        ("eve@shop.example.org.evil.com", "stranger"),
        ("@shop.example.org", "stranger"),
        ("bob", "stranger"),
        ("", "stranger"),
        ("ann@example.com", "operator"),
    ):
        user = {"is_logged_in": True, "email": email, "email_verified": True}
        found = visitor_of(user, operators=listed("ann@example.com"), readers=readers)
        assert found is not None
        assert found.role == role, email
        unsure = visitor_of({**user, "email_verified": False}, operators=(), readers=readers)
        assert unsure is not None
        assert unsure.role == "stranger", email
    assert visitor_of({}, operators=(), readers=readers) == Visitor(role="page")  # no login


def test_where_readers_are_listed_whoever_else_logs_in_sees_nothing(
    app: Open, full: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = full
    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setenv(READERS, "@example.com")
    for page in ("overview", "tables"):
        shown = app(page, user={**ANN, "email": "eve@elsewhere.org"})
        assert "`eve@elsewhere.org` may not see this lake" in shown.error[0].value
        assert [each.label for each in shown.button] == ["Log out"]
        assert (len(shown.dataframe), len(shown.metric), len(shown.caption)) == (0, 0, 0)
    assert app(user=ANN).metric


def test_pages_that_other_machines_reach_without_a_login_show_nothing(
    app: Open, full: Lake
) -> None:
    _ = full
    for address in ("0.0.0.0", None):
        config.set_option("server.address", address)
        shown = app()
        assert "login-missing" in shown.error[0].value
        assert (len(shown.dataframe), len(shown.metric), len(shown.caption)) == (0, 0, 0)


def test_who_has_not_logged_in_sees_a_button_and_nothing_of_the_lake(app: Open, full: Lake) -> None:
    _ = full
    config.set_option("server.address", "0.0.0.0")
    shown = app(user={"is_logged_in": False})
    assert [each.label for each in shown.button] == ["Log in"]
    assert (len(shown.dataframe), len(shown.metric), len(shown.caption)) == (0, 0, 0)
    inside = app(user=ANN)
    assert "`ann@example.com`, page" in inside.caption[0].value
    assert inside.metric


def test_only_an_operator_sees_how_to_apply_and_a_plan_needs_the_name_typed(
    app: Open, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    before = lake.table(TABLE).head().snapshot_id
    assert not app("tables", table=TABLE).text_input
    monkeypatch.setenv(OPERATORS, "ann@example.com")
    assert not app("tables", table=TABLE, user={**ANN, "email": "bob@example.com"}).text_input
    shown = app("tables", table=TABLE, user=ANN)
    (apply,) = [each for each in shown.button if each.label == "Apply"]
    shown.text_input(key="confirm").input("raw.impressions")
    apply.click().run()
    assert "Nothing was done" in shown.warning[0].value
    assert lake.table(TABLE).head().snapshot_id == before
    shown.text_input(key="confirm").input(TABLE)
    next(each for each in shown.button if each.label == "Apply").click().run()
    assert not shown.exception
    assert ["rewrite manifests" in each.value for each in shown.success] == [True]
    done = [each.value for each in shown.dataframe if "files" in each.value.columns][-1]
    assert len(done)  # it is on record, and nothing is planned any more
    assert lake.table(TABLE).head().snapshot_id != before
    assert not app("tables", table=TABLE, user=ANN).text_input  # nothing is planned any more


def test_no_page_shows_a_secret(app: Open, full: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = full
    secret = "pages-must-not-show-this"
    for name in ("HEADRACE_CATALOG_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HEADRACE_SECRET"):
        monkeypatch.setenv(name, secret)
    for page in ("overview", "ingest", "tables", "samples", "lineage", "versions"):
        shown = app(page, user={**ANN, "tokens": {"id": secret}})
        said = [str(getattr(each, "value", "")) for each in shown.main]
        assert secret not in " ".join(said)
