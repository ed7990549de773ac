"""How many rows a job left out because they came after the moment to which they belong was over."""

from urllib.parse import quote as in_url

from headrace.flink.client import JobManager

_METRIC = "numLateRecordsDropped"


def late_rows(manager: JobManager, job_id: str) -> int:
    """Ask a job's tasks; what a task counted before it failed is forgotten.

    Raises:
        FlinkUnavailableError: If Flink does not answer.
        FlinkRefusedError: If it does not know the job.

    """
    found = 0
    for vertex in manager.ask(f"/jobs/{job_id}")["vertices"]:
        path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
        listed: object = manager.ask(path)
        names = [str(each["id"]) for each in list(listed) if _METRIC in str(each["id"])]  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
        for name in names:
            values: object = manager.ask(f"{path}?get={in_url(name, safe='')}")
            found += sum(int(each["sum"]) for each in list(values))  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    return found
