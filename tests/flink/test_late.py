"""Late rows of a job are told apart from late repeats; recorded replies, cut to what is read."""

from typing import Any

from headrace.flink.client import JobManager
from headrace.flink.late import Late, late_rows
from headrace.flink_access import FlinkAccess
from tests.flink.replies import answering

FIRST = (
    "[7]:OverAggregate(partitionBy=[id], orderBy=[_time ASC], select=[id, $16, MIN($16) AS w0$o0])"
    "<br/>+- [8]:Calc(select=[id, $16], where=[($16 = w0$o0)])<br/>"
)
GATHERED = (
    "[9]:OverAggregate(partitionBy=[_id], orderBy=[_time ASC], "
    "select=[_id, MIN($16) AS w0$o0, COUNT($16) AS w0$o1])<br/>"
)
METRICS = "/jobs/c1/vertices/{}/subtasks/metrics"


def counted(first: int, gathered: int) -> Late:
    """Look at a job whose two aggregations left so many rows out."""
    replies: dict[str, list[tuple[int, Any]]] = {
        "GET /jobs/c1": [
            (
                200,
                {
                    "plan": {"nodes": [{"description": FIRST}, {"description": GATHERED}]},
                    "vertices": [
                        {"id": "v1", "start-time": 8},
                        {"id": "v2", "start-time": 7},
                        {"id": "v3", "start-time": 6},
                    ],
                },
            )
        ]
    }
    for vertex, number, late in (("v1", 7, first), ("v2", 9, gathered)):
        name = f"OverAggregate[{number}].numLateRecordsDropped"
        path = f"GET {METRICS.format(vertex)}"
        replies[path] = [(200, [{"id": name}, {"id": "numRecordsIn"}])]
        asked = f"{path}?get=OverAggregate%5B{number}%5D.numLateRecordsDropped"
        replies[asked] = [(200, [{"id": name, "sum": float(late)}])]
    replies[f"GET {METRICS.format('v3')}"] = [(200, [{"id": "numRecordsIn"}])]
    with answering(replies) as (address, _):
        return late_rows(JobManager(FlinkAccess(uri=address, gateway_uri=address)), "c1")


def test_what_is_late_where_repeats_are_told_apart_is_a_repeat() -> None:
    assert counted(2, 0) == Late(rows=0, repeats=2, since_ms=7)


def test_what_is_late_elsewhere_would_have_counted() -> None:
    assert counted(1, 3) == Late(rows=3, repeats=1, since_ms=7)
