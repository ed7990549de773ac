"""How tests are given to workers: each file to one of them, and some rooms as a whole."""

from xdist.scheduler import LoadFileScheduling

# what dbt parsed, Dagster loaded or pypaimon imported serves all files of such a room, and takes a
# worker seconds
WHOLE = ("tests/dbt", "tests/integrations", "tests/interop", "tests/orchestration")


def room_of(nodeid: str) -> str | None:
    """Name the room that one worker runs as a whole, if the test is of such a one."""
    return next((room for room in WHOLE if nodeid.startswith(f"{room}/")), None)


class ByRoom(LoadFileScheduling):
    """As `--dist loadfile`, except that one worker runs all files of some rooms."""

    def _split_scope(self, nodeid: str) -> str:
        return room_of(nodeid) or super()._split_scope(nodeid)
