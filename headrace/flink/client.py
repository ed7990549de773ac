"""Flink's two REST interfaces: the SQL gateway takes statements, the JobManager knows jobs."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import FlinkRefusedError, FlinkUnavailableError
from headrace.flink_access import FlinkAccess

_STATEMENT_S_MAX = 600.0  # the first one of a gateway loads its planner, and a busy machine is slow
_POLL_S = 0.2
# what it says of one job, but for its state, comes from a copy of 3 s at most (`web.refresh-interval`)
COPY_S_MAX = 5.0
_DETAIL_MAX = 600
# a job that is being cancelled or fails may still be in the middle of its last commit
_ENDING = frozenset({"CANCELLING", "FAILING"})
RUNNING = _ENDING | {"INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "RECONCILING"}


@dataclass(frozen=True, kw_only=True)
class JobOverview:
    """A job that the JobManager knows: `state` is Flink's word, `started_ms` its start."""

    id: str
    name: str
    state: str
    started_ms: int

    @property
    def is_running(self) -> bool:
        """Whether it runs, is about to, or has not ended yet: whether it may commit."""
        return self.state in RUNNING


class Gateway:
    """The SQL gateway."""

    def __init__(self, access: FlinkAccess) -> None:
        self._address, self._answer_s_max = access.gateway_uri, access.answer_s_max

    def check(self) -> None:
        """Ask whether it is there, before anything is changed for a job that it should start.

        Raises:
            FlinkUnavailableError: If it does not answer.
            FlinkRefusedError: If what answers is no SQL gateway.

        """
        self._ask("GET", "/v3/info", None)

    def submit(self, statements: Sequence[str], *, properties: Mapping[str, str]) -> str:
        """Run statements in a session of their own; return the id of the job that the last one starts.

        Raises:
            FlinkUnavailableError: If the gateway does not answer; whether a job started is not known.
            FlinkRefusedError: If a statement is refused; no job was started.

        """
        found = self._all(statements, properties)
        job_id = found.get("jobID")
        if not job_id:
            msg = "a job"
            raise FlinkRefusedError(msg, "the last statement started none")
        return str(job_id)

    def run(self, statements: Sequence[str], *, properties: Mapping[str, str]) -> None:
        """Run statements that start no job, in a session of their own.

        Raises:
            FlinkUnavailableError: If the gateway does not answer; whether they were run is not known.
            FlinkRefusedError: If a statement is refused; those after it were not run.

        """
        self._all(statements, properties)

    def _all(self, statements: Sequence[str], properties: Mapping[str, str]) -> dict[str, Any]:
        """Run statements in a session of their own; return the answer to the last."""
        session = self._ask("POST", "/v3/sessions", {"properties": dict(properties)})
        handle = session["sessionHandle"]
        try:
            found: dict[str, Any] = {}
            for statement in statements:
                found = self._run(handle, statement)
        finally:
            self._ask("DELETE", f"/v3/sessions/{handle}", None)
        return found

    def _run(self, handle: str, statement: str) -> dict[str, Any]:
        base = f"/v3/sessions/{handle}"
        operation = self._ask("POST", f"{base}/statements", {"statement": statement})
        url = f"{base}/operations/{operation['operationHandle']}/result/0?rowFormat=JSON"
        deadline_s = time.monotonic() + _STATEMENT_S_MAX
        while True:
            answer = self._ask("GET", url, None)
            if answer.get("resultType") != "NOT_READY":
                return answer
            if time.monotonic() > deadline_s:
                detail = f"a statement took more than {_STATEMENT_S_MAX:.0f} s"
                raise FlinkUnavailableError(self._address, detail)
            time.sleep(_POLL_S)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        return _ask(self._address, method, path, body, answer_s_max=self._answer_s_max)


class JobManager:
    """The JobManager."""

    def __init__(self, access: FlinkAccess) -> None:
        self.address, self._answer_s_max = access.uri, access.answer_s_max

    def jobs(self, *, name: str) -> tuple[JobOverview, ...]:
        """Return the jobs of a name, the newest first; those that ended long ago are forgotten.

        Raises:
            FlinkUnavailableError: If it does not answer.

        """
        found = [
            JobOverview(
                id=each["jid"],
                name=each["name"],
                state=each["state"],
                started_ms=each["start-time"],
            )
            for each in self.ask("/jobs/overview")["jobs"]
            if str(each["name"]).startswith(name)
        ]
        return tuple(sorted(found, key=lambda each: -each.started_ms))

    def ask(self, path: str) -> dict[str, Any]:
        """Ask for a resource.

        Raises:
            FlinkUnavailableError: If it does not answer.
            FlinkRefusedError: If it does not know it.

        """
        return self._send("GET", path, None)

    def state(self, job_id: str) -> str:
        """Return the state of a job as it is now; `/jobs/ID` says that of some seconds ago.

        Raises:
            FlinkUnavailableError: If it does not answer.
            FlinkRefusedError: If it does not know the job.

        """
        return str(self.ask(f"/jobs/{job_id}/status")["status"])

    def why_ended(self, job_id: str) -> str:
        """Return the root exception of a job that has ended; empty if there was none.

        Where someone looked at the job just before it failed, its failure is told some seconds later.

        Raises:
            FlinkUnavailableError: If it does not answer.
            FlinkRefusedError: If it does not know the job.

        """
        deadline_s = time.monotonic() + COPY_S_MAX
        while self.ask(f"/jobs/{job_id}")["state"] in RUNNING and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return root_exception(self.ask(f"/jobs/{job_id}/exceptions"))

    def settings(self) -> dict[str, str]:
        """Return what the JobManager was configured with.

        Raises:
            FlinkUnavailableError: If it does not answer.

        """
        listed: Any = self.ask("/jobmanager/config")
        return {str(each["key"]): str(each["value"]) for each in listed}

    def stop(self, job_id: str) -> str:
        """Ask a job to stop with a savepoint; return the id of the request."""
        body = {"drain": False}
        return str(self._send("POST", f"/jobs/{job_id}/stop", body)["request-id"])

    def savepoint(self, job_id: str, request_id: str) -> tuple[str | None, str]:
        """Return the location of a requested savepoint once it is written, and why it failed if so."""
        found = self.ask(f"/jobs/{job_id}/savepoints/{request_id}")
        done = found.get("operation") or {}
        cause = (done.get("failure-cause") or {}).get("stack-trace", "")
        return done.get("location"), _root(cause)

    def cancel(self, job_id: str) -> None:
        """Cancel a job; its checkpoints stay.

        Raises:
            FlinkUnavailableError: If it does not answer.
            FlinkRefusedError: If it does not know the job, or that has ended.

        """
        self._send("PATCH", f"/jobs/{job_id}?mode=cancel", None)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        return _ask(self.address, method, path, body, answer_s_max=self._answer_s_max)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failure of a job: when it was by the JobManager's clock, and its innermost cause."""

    at_ms: int
    root: str


def failures_in(exceptions: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return the failures of a job that the JobManager still has, the newest first."""
    entries = (exceptions.get("exceptionHistory") or {}).get("entries") or ()
    return tuple(
        Failure(at_ms=int(each["timestamp"]), root=_root(each.get("stacktrace", "")))
        for each in entries
    )


def root_exception(exceptions: Mapping[str, Any]) -> str:
    """Return the innermost cause of a job's newest failure; empty if there was none."""
    newest = next(iter(failures_in(exceptions)), None)
    return _root(exceptions.get("root-exception") or "") if newest is None else newest.root


def _root(trace: str) -> str:
    """Return the last cause of a stack trace, in one line."""
    causes = [
        line.strip().removeprefix("Caused by: ")
        for line in trace.splitlines()
        if line.startswith("Caused by: ")
    ]
    first = trace.strip().splitlines()[:1]
    return (causes or first or [""])[-1][:_DETAIL_MAX]


def _ask(
    address: str, method: str, path: str, body: Mapping[str, Any] | None, *, answer_s_max: float
) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data=data, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=answer_s_max) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        msg = f"{method} {address}{path.split('?')[0]}"
        raise FlinkRefusedError(msg, _said(error)) from error
    # the last is of a server that ends while it answers, and of one that does not speak HTTP
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise FlinkUnavailableError(address, str(reason).strip()) from error


def _said(error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read()).get("errors") or [str(error)]
    except (OSError, ValueError, http.client.HTTPException):
        return str(error)
    return _root("\n".join(str(each) for each in said).replace("\n\t", "\n"))
