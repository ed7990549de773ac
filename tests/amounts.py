"""How much the random tests do: some of it in every run, by a seed that changes each day, all of it in `make proofs`."""

import datetime as dt
import os


def examples(many: int, *, few: int) -> int:
    """How many examples hypothesis makes: `many` where `HEADRACE_EXAMPLES` says so, else `few`."""
    return many if os.environ.get("HEADRACE_EXAMPLES") == "many" else few


def seed_of_today() -> str:
    """What random choices of a short form hang on: every run of a day makes the same ones (UTC)."""
    return os.environ.get("HEADRACE_SEED") or dt.datetime.now(dt.UTC).strftime("%Y%m%d")
