"""Named places where tests kill the process, so that recovery is proven and not assumed."""

import os
import signal

CRASH_POINTS = (
    "ingest.after_decode",
    "ingest.after_dead_letters",
    "ingest.after_seal",
    "reset.after_mark",
    "reset.after_rows",
    "reset.after_letters",
    "retry.after_mark",
    "retry.after_rows",
    "retry.after_letters",
    "replay.after_rows",
    "replay.after_letters",
    "commit.after_data_files",
    "commit.after_manifests",
    "commit.after_swap",
    "commit.after_record",
    "updates.before_swap",
    "updates.after_swap",
    "wap.after_write",
    "wap.after_publish",
    "samples.after_partition",
    "datasets.after_tags",
    "datasets.after_lockfile",
    "serving.between_batches",
    "serving.before_commit",
    "serving.before_switch",
    "cleanup.after_manifest",
    "cleanup.after_move",
    "cleanup.after_restore",
    "cleanup.after_delete",
    "relocate.before_swap",
    "paimon.after_write",
    "paimon.after_commit",
    "paimon.after_export",
    "upkeep.after_guard",
    "upkeep.after_expiry",
    "move.after_data_files",
    "move.before_swap",
    "move.before_records",
)


def crash_point(name: str) -> None:
    """Kill this process at `name` if `HEADRACE_CRASH_AT` asks for it.

    The variable holds `name` or `name:n` for the n-th passage (from 1). Without it this is one
    dictionary look-up.

    Raises:
        ValueError: If `name` is not listed in `CRASH_POINTS`.

    """
    wanted = os.environ.get("HEADRACE_CRASH_AT")
    if wanted is None:
        return
    if name not in CRASH_POINTS:
        msg = f"`{name}` is not a crash point"
        raise ValueError(msg)
    point, _, nth = wanted.partition(":")
    if point != name:
        return
    remaining = int(nth or 1) - 1
    if remaining:
        os.environ["HEADRACE_CRASH_AT"] = f"{point}:{remaining}"
        return
    os.kill(os.getpid(), signal.SIGKILL)
