"""Who looks at the pages, and what they may do: roles, and the login that other machines need."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from headrace.loopback import is_loopback

Role = Literal["page", "operator"]
OPERATORS = "HEADRACE_PAGES_OPERATORS"  # e-mail addresses, separated by commas
LOCAL = "local"  # an operator by this name: whoever reaches the pages without a login


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who looks at the pages. `page` reads; `operator` may also apply plans. `name` may be empty."""

    role: Role
    name: str = ""


def visitor_of(user: Mapping[str, object], *, operators: Collection[str]) -> Visitor | None:
    """Judge what the identity provider said of a user; None if they have yet to log in.

    Without a login everyone is `local`. An address that the provider says is not verified makes
    nobody an operator.
    """
    if "is_logged_in" not in user:
        return Visitor(role="operator" if LOCAL in operators else "page")
    if user["is_logged_in"] is not True:
        return None
    email = str(user.get("email") or "").lower()
    is_operator = "@" in email and email in operators and user.get("email_verified") is not False
    return Visitor(role="operator" if is_operator else "page", name=email or str(user.get("name")))


def operators(value: str) -> frozenset[str]:
    """Read the list of operators."""
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
    found = visitor_of(user, operators=operators(os.environ.get(OPERATORS, "")))
    if found is None:
        st.markdown("Log in to see the lake.")
        if st.button("Log in", icon=":material/login:", type="primary"):
            st.login()
        st.stop()
    return found
