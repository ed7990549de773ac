"""How tests are given to workers: each file to one of them, and some rooms and files together."""

from xdist.scheduler import LoadFileScheduling

# what one worker runs as a whole: what dbt parsed, Dagster loaded, or pypaimon and torch's exporter
# imported serves all of it, and takes a worker seconds
TOGETHER = {
    "dbt": ("tests/dbt/", "tests/integrations/", "tests/orchestration/"),
    "exporter": (
        "tests/demo/test_feed.py",
        "tests/serving/test_export.py",
        "tests/serving/test_server.py",
    ),
    "interop": ("tests/interop/",),
}


def together(nodeid: str) -> str | None:
    """Name what one worker runs as a whole, if the test is of it."""
    return next(
        (name for name, places in TOGETHER.items() if nodeid.startswith(places)),
        None,
    )


class ByRoom(LoadFileScheduling):
    """As `--dist loadfile`, except that one worker runs all files of some rooms."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid) or super()._split_scope(nodeid)
