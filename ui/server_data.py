"""Read what other programs say: Flink, a Paimon warehouse, an online store on a server.

They are read beside the page, which goes on with the last answer, or without one, where a new one
takes longer than `ANSWER_S`: a page never waits for a server that is silent.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import streamlit as st

from headrace.config import Settings
from headrace.definitions.load import Declarations, inspect_declarations
from headrace.errors import LakeError
from headrace.interop.paimon.token import Token
from headrace.serving.open import PublishedView, published_views
from headrace.standing.facts import Unreadable
from headrace.standing.flow import ONLINE_STORE
from headrace.standing.jobs import SERVER, JobsRead, read_jobs
from headrace.standing.paimon import WAREHOUSE, PaimonRead, read_paimon
from headrace.tables.lake import OpenLake

__all__ = ["Asking"]

ANSWER_S = 0.2
T = TypeVar("T")


@dataclass
class _Desk:
    """The last answer of each program to questions about one lake, and the questions under way."""

    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=3, thread_name_prefix="asking")
    )
    lock: threading.Lock = field(default_factory=threading.Lock)
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: dict[str, "Future[Any]"] = field(default_factory=dict[str, "Future[Any]"])

    def ask(self, program: str, read: Callable[[], object], *, wait_s: float | None) -> None:
        """Ask, unless that is under way, and wait for the answer; keep any that has come."""
        with self.lock:
            self._keep(program)
            asked = self.asked.get(program)
            if asked is None:
                asked = self.asked[program] = self.threads.submit(read)
        wait([asked], timeout=wait_s)
        with self.lock:
            self._keep(program)

    def _keep(self, program: str) -> None:
        asked = self.asked.get(program)
        if asked is not None and asked.done():
            del self.asked[program]
            self.answers[program] = asked.result()


@st.cache_resource(max_entries=8, show_spinner=False)
def _desk(state_dir: str) -> _Desk:
    _ = state_dir  # the cache's key
    return _Desk()


@dataclass
class Asking:
    """The questions of one page about one lake.

    `wait_s` is how long each may take; None waits for every answer. `awaited` names the programs that
    never answered yet.
    """

    settings: Settings
    wait_s: float | None
    awaited: tuple[str, ...] = ()

    def jobs(self, lake: OpenLake, declared: Declarations) -> JobsRead:
        """Return the jobs of Flink; before the first answer, only which there are."""
        if self.settings.flink is None:
            return read_jobs(lake, declared)
        said = self._ask(SERVER, self._read_jobs)
        return read_jobs(lake, declared, ask=False) if said is None else said

    def paimon(self, tokens: Mapping[str, Token]) -> PaimonRead:
        """Return the tables of Paimon and what takes them; before the first answer none."""
        if not self.settings.paimon_warehouse:
            return PaimonRead()
        last = cast("PaimonRead | None", self._last(WAREHOUSE))
        known = () if last is None else last.tables
        said = self._ask(WAREHOUSE, lambda: read_paimon(self.settings, tokens, known=known))
        return said or PaimonRead()

    def online(self) -> tuple[PublishedView, ...] | Unreadable:
        """Return the views of the online store, or why it cannot be read; before the first answer none."""
        if self.settings.online_store_server is None:
            return _views(self.settings)
        said = self._ask(ONLINE_STORE, lambda: _views(self.settings))
        return () if said is None else said

    def _read_jobs(self) -> JobsRead:
        with OpenLake.existing(self.settings) as lake:
            return read_jobs(lake, inspect_declarations(self.settings))

    def _last(self, program: str) -> object | None:
        return _desk(str(self.settings.state_dir)).answers.get(program)

    def _ask(self, program: str, read: Callable[[], T]) -> T | None:
        desk = _desk(str(self.settings.state_dir))
        desk.ask(program, read, wait_s=self.wait_s)
        if program not in desk.answers:
            self.awaited = (*self.awaited, program)
        return cast("T | None", desk.answers.get(program))


def _views(settings: Settings) -> tuple[PublishedView, ...] | Unreadable:
    try:
        return published_views(settings)
    except LakeError as error:  # the tables remain readable
        return Unreadable.of(ONLINE_STORE, error)
