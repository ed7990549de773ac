"""What needs attention in a lake, as codes: each has its section in the runbook, `docs/runbook.md`."""

from enum import StrEnum


class FindingCode(StrEnum):
    """The kind of a finding; a code is never renamed or reused, as programs and people look it up."""

    DECLARATIONS = "declarations"
    UNREADABLE = "unreadable"
    SERVICE_FAILED = "service-failed"
    NOT_FOLLOWED = "not-followed"
    FLINK_JOB = "flink-job"
    FAILED_CHECKS = "failed-checks"
    REFUSED_RECORDS = "refused-records"
    NOTHING_TO_READ = "nothing-to-read"
    WAITING_FILES = "waiting-files"
    STALE_WATERMARK = "stale-watermark"
    UNUSED_FIELDS = "unused-fields"
    OUT_OF_DATE = "out-of-date"
    UNHEALTHY_TABLES = "unhealthy-tables"
    STOPPED_JOB = "stopped-job"
    PAIMON_EXPIRED = "paimon-expired"
    PAIMON_BEHIND = "paimon-behind"
    PAIMON_UNMERGED = "paimon-unmerged"
