"""Who looks at the pages, and what they may do: roles, and the login that other machines need."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from headrace.loopback import is_loopback

Role = Literal["stranger", "page", "operator"]
OPERATORS = "HEADRACE_PAGES_OPERATORS"  # e-mail addresses, separated by commas
READERS = "HEADRACE_PAGES_READERS"  # the same, and `@example.com` for all of a domain; all if empty
LOCAL = "local"  # an operator by this name: whoever reaches the pages without a login


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who looks at the pages. `page` reads; `operator` may also apply plans; `stranger` sees nothing.

    `name` may be empty.
    """

    role: Role
    name: str = ""


def visitor_of(
    user: Mapping[str, object], *, operators: Collection[str], readers: Collection[str] = ()
) -> Visitor | None:
    """Judge what the identity provider said of a user; None if they have yet to log in.

    Without a login everyone is `local`. Where readers are listed, whoever is neither one nor an
    operator is a stranger. An address that the provider says is not verified is on no list.
    """
    if "is_logged_in" not in user:
        return Visitor(role="operator" if LOCAL in operators else "page")
    if user["is_logged_in"] is not True:
        return None
    email = str(user.get("email") or "").lower()
    name = email or str(user.get("name"))
    person, _, domain = email.rpartition("@")
    is_known = bool(person) and user.get("email_verified") is not False
    if is_known and email in operators:
        return Visitor(role="operator", name=name)
    is_reader = not readers or (is_known and (email in readers or f"@{domain}" in readers))
    return Visitor(role="page" if is_reader else "stranger", name=name)


def listed(value: str) -> frozenset[str]:
    """Read a list of people."""
    return frozenset(each.strip().lower() for each in value.split(",") if each.strip())


def visitor() -> Visitor:
    """Return who looks at the page; if they have to log in first, show how and end the page.

    Nothing of the lake is read before. Pages that other machines reach without a login configured
    show nothing at all.
    """
    user = st.user.to_dict()
    if "is_logged_in" not in user and not is_loopback(st.get_option("server.address")):
        st.error(
            "**login-missing**  \nThese pages are reachable from other machines and have no login: "
            "start them with `headrace ui --address ADDRESS --login FILE`, or at 127.0.0.1",
            icon=":material/lock:",
        )
        st.stop()
    found = visitor_of(
        user,
        operators=listed(os.environ.get(OPERATORS, "")),
        readers=listed(os.environ.get(READERS, "")),
    )
    if found is None:
        st.markdown("Log in to see the lake.")
        if st.button("Log in", icon=":material/login:", type="primary"):
            st.login()
        st.stop()
    if found.role == "stranger":
        st.error(
            f"**not-a-reader**  \n`{found.name}` may not see this lake. Whoever serves these pages "
            "names its readers: `headrace ui --reader NAME`",
            icon=":material/lock:",
        )
        log_out()
        st.stop()
    return found


def log_out() -> None:
    """Offer to log out."""
    if st.button("Log out", icon=":material/logout:", type="tertiary"):
        st.logout()
