"""The clients of Flink's REST interfaces, against recorded replies."""

import socket
import threading

import pytest

from headrace.errors import FlinkRefusedError, FlinkUnavailableError
from headrace.flink import client
from headrace.flink.client import Gateway, JobManager
from headrace.flink_access import FlinkAccess
from tests.flink.replies import answering

pytestmark = pytest.mark.slow  # it waits between two looks
SESSION = "/v3/sessions/5f"
RESULT = f"GET {SESSION}/operations/7a/result/0?rowFormat=JSON"
REFUSED = (
    "org.apache.flink.table.gateway.service.utils.SqlExecutionException: Failed to execute\n"
    "\tat org.apache.flink.table.gateway.Operation.run(Operation.java:1)\n"
    "Caused by: org.apache.flink.table.api.ValidationException: Column 'x' not found\n"
)


def access(address: str) -> FlinkAccess:
    return FlinkAccess(uri=address, gateway_uri=address)


def replies(*results: tuple[int, object]) -> dict[str, list[tuple[int, object]]]:
    return {
        "POST /v3/sessions": [(200, {"sessionHandle": "5f"})],
        f"POST {SESSION}/statements": [(200, {"operationHandle": "7a"})],
        RESULT: list(results),
        f"DELETE {SESSION}": [(200, {"status": "CLOSED"})],
    }


def test_statements_run_one_by_one_in_a_session_that_is_closed_again() -> None:
    waiting = (200, {"resultType": "NOT_READY"})
    done = (200, {"resultType": "PAYLOAD", "results": {}})
    started = (200, {"resultType": "PAYLOAD", "jobID": "c113"})
    with answering(replies(done, waiting, waiting, started)) as (address, asked):
        found = Gateway(access(address)).submit(["a", "b"], properties={"pipeline.name": "n"})
    assert found == "c113"
    assert asked[0] == ("POST /v3/sessions", {"properties": {"pipeline.name": "n"}})
    said = [body["statement"] for key, body in asked if key.endswith("/statements")]
    assert said == ["a", "b"]
    assert asked[-1][0] == f"DELETE {SESSION}"


def test_a_refused_statement_is_named_by_its_innermost_cause_and_the_session_closed() -> None:
    with answering(replies((500, {"errors": ["Internal server error.", REFUSED]}))) as (at, asked):
        with pytest.raises(FlinkRefusedError) as caught:
            Gateway(access(at)).submit(["a"], properties={})
        assert asked[-1][0] == f"DELETE {SESSION}"
    assert caught.value.detail.startswith("org.apache.flink.table.api.ValidationException")
    assert "\n" not in str(caught.value)


def test_a_last_statement_that_starts_no_job_is_refused() -> None:
    done = (200, {"resultType": "PAYLOAD", "results": {}})
    with answering(replies(done)) as (address, _), pytest.raises(FlinkRefusedError):
        Gateway(access(address)).submit(["a"], properties={})


def test_a_server_that_is_down_is_unavailable_and_worth_another_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(FlinkUnavailableError) as caught:
        JobManager(access(address)).jobs(name="")
    assert caught.value.retryable
    assert caught.value.address == address


@pytest.mark.parametrize(
    "said", [b"\x00\x02\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_an_answer_that_is_none_or_ends_in_the_middle_is_unavailable(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with server.accept()[0] as asked:
                asked.recv(1 << 16)
                asked.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(FlinkUnavailableError) as caught:
            JobManager(access(address)).jobs(name="")
        thread.join()
    assert caught.value.address == address


def test_jobs_are_found_by_how_their_names_begin_the_newest_first() -> None:
    jobs = [
        {"jid": "1", "name": "headrace a 12 epoch 1", "state": "FINISHED", "start-time": 1},
        {"jid": "2", "name": "headrace a 12 epoch 2", "state": "RESTARTING", "start-time": 9},
        {"jid": "3", "name": "headrace b 34 epoch 1", "state": "RUNNING", "start-time": 5},
        {"jid": "4", "name": "headrace a 12 epoch 3", "state": "CANCELLING", "start-time": 7},
        {"jid": "5", "name": "headrace a 12 epoch 4", "state": "CANCELED", "start-time": 3},
    ]
    with answering({"GET /jobs/overview": [(200, {"jobs": jobs})]}) as (address, _):
        found = JobManager(access(address)).jobs(name="headrace a 12 epoch ")
    assert [each.id for each in found] == ["2", "4", "5", "1"]
    # one that is being cancelled may still commit
    assert [each.is_running for each in found] == [True, True, False, False]


def test_why_a_job_ended_is_asked_once_the_copy_knows_that_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flink answers from a copy, in which a job that has just failed still runs."""
    monkeypatch.setattr(client, "_POLL_S", 0.01)
    job, exceptions = "GET /jobs/c1", "GET /jobs/c1/exceptions"
    runs, failed = (200, {"state": "RUNNING"}), (200, {"state": "FAILED"})
    said = {job: [runs, runs, failed], exceptions: [(200, {"root-exception": REFUSED})]}
    with answering(said) as (address, asked):
        why = JobManager(access(address)).why_ended("c1")
    assert why.endswith("Column 'x' not found")
    assert [key for key, _ in asked] == [job, job, job, exceptions]


def test_a_savepoint_is_there_or_says_why_it_failed() -> None:
    path = "GET /jobs/c1/savepoints/r1"
    pending = (200, {"status": {"id": "IN_PROGRESS"}})
    written = (200, {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://lake/s-1"}})
    failed = (200, {"operation": {"failure-cause": {"stack-trace": REFUSED}}})
    with answering({path: [pending, written, failed]}) as (address, _):
        manager = JobManager(access(address))
        assert manager.savepoint("c1", "r1") == (None, "")
        assert manager.savepoint("c1", "r1") == ("s3://lake/s-1", "")
        location, why = manager.savepoint("c1", "r1")
    assert location is None
    assert why.endswith("Column 'x' not found")
