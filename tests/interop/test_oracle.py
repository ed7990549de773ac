"""Random lives of a keyed table, taken at random moments, against a dictionary: no difference."""

import datetime as dt
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import TableName
from headrace.interop.paimon.take import take_changes, take_features, take_state
from tests.amounts import examples
from tests.conftest import ROOT
from tests.interop.warehouses import Written, refuses_repeats, replayed, rows_of, users

RAW, VIEW, NOW = (TableName.parse(name) for name in ("raw.u", "features.u", "raw.now"))
_Change: TypeAlias = tuple[int, str | None]  # a key, and its new name or None
_KEYS = st.integers(0, 4)
_COMMIT = st.lists(
    st.tuples(_KEYS, st.none() | st.sampled_from("abc")),
    min_size=1,
    max_size=5,
    unique_by=lambda c: c[0],
)
_STEPS = st.lists(
    _COMMIT | st.sampled_from(["take", "tag", "take a tag", "expire"]), min_size=3, max_size=10
)


@dataclass
class Truth:
    """What the table held after each of its snapshots, by a dictionary."""

    states: list[Mapping[int, str]] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)

    def commit(self, written: Written, changes: list[_Change]) -> None:
        state = dict(self.states[-1]) if self.states else {}
        for key, name in changes:
            if name is None:
                state.pop(key, None)
            else:
                state[key] = name
        written.write([{"id": k, "name": n, "op": "-D" if n is None else "+I"} for k, n in changes])
        self.states.append(state)


@settings(
    max_examples=examples(150, few=6),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps=_STEPS)
def test_a_keyed_table_is_what_a_dictionary_says(steps: list[list[_Change] | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"HEADRACE_STATE_DIR": f"{folder}/state"}
        said = Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
        with Lake.open(replace(said)) as lake:
            _live(lake, users(Path(folder) / "paimon"), [[(0, "a")], *steps, "take"])


def _live(lake: Lake, written: Written, steps: list[list[_Change] | str]) -> None:
    truth, view, taken, gone = Truth(), FeatureView(view=VIEW, entity=("id",)), 0, 0
    for step in steps:
        if not isinstance(step, str):
            truth.commit(written, step)
        elif step == "take":
            take_changes(lake, written.table(), RAW)
            take_features(lake, written.table(), view)
            taken = len(truth.states)
            assert replayed(lake, str(RAW)) == truth.states[-1]
            refuses_repeats(lake, str(RAW))
        elif step == "tag":
            name = f"t{len(truth.states)}"
            written.table().create_tag(name, snapshot_id=len(truth.states))
            truth.tags[name] = len(truth.states)
        elif step == "take a tag" and truth.tags:
            name = next(iter(truth.tags))
            take_state(lake, written.table(), NOW, tag=name)
            found = dict(rows_of(lake, str(NOW), "id", "name"))
            assert found == truth.states[truth.tags[name] - 1]
        elif step == "expire" and taken - 1 > gone:
            written.expire(*range(gone + 1, taken))
            gone = taken - 1
    _compare_visible(lake, written, truth)


def _compare_visible(lake: Lake, written: Written, truth: Truth) -> None:
    """Compare the feature view at each commit with the table as it was then."""
    rows = rows_of(lake, str(VIEW), "id", "name", "known_at")
    for snapshot in written.table().snapshots():
        at = snapshot.committed_at + dt.timedelta(microseconds=1)
        if any(
            other.committed_at_ms == snapshot.committed_at_ms and other.id > snapshot.id
            for other in written.table().snapshots()
        ):
            continue  # a later one became visible in the same millisecond
        visible = {key: name for key, name, known in rows if known < at}
        expected = truth.states[snapshot.id - 1]
        assert {key: name for key, name in visible.items() if name is not None} == expected
