"""Pages say who does what: who writes a stream, and who rewrites the files of a table."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st

from headrace.api import Lake
from headrace.ingest.owner import FLINK, Owner
from headrace.maintenance.health.state import TableState
from headrace.maintenance.queue.actions import Executor
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from headrace.tables.commits.operations import move_properties
from tests.ui.conftest import Open
from tests.ui.factories import fill
from ui import data


def test_the_queue_says_who_rewrites_the_files(
    app: Open, full: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = full

    def by_server(states: Iterable[TableState], **more: Any) -> MaintenancePlan:  # noqa: ANN401
        plan = plan_maintenance(states, **more)
        actions = (replace(each, executor=Executor.SERVER) for each in plan.actions)
        return replace(plan, actions=tuple(actions))

    assert set(app().dataframe[0].value["by"]) == {"headrace"}
    monkeypatch.setattr(data, "plan_maintenance", by_server)
    st.cache_data.clear()
    assert set(app().dataframe[0].value["by"]) == {"trino"}
    detail = app("tables", table="dead_letters.records").dataframe
    queues = [each.value for each in detail if "by" in each.value.columns]
    assert [set(each["by"]) for each in queues] == [{"trino"}]


def test_the_ingest_page_shows_who_writes_each_stream(app: Open, lake: Lake) -> None:
    fill(lake)
    owner = Owner(by=FLINK, epoch=3)
    move_properties(lake.table("raw.impressions"), lambda _: owner.note(stream="impressions"))
    streams = app("ingest").dataframe[0].value.set_index("stream")
    assert streams.loc["impressions", "owner"] == "flink, epoch 3"
    assert streams.loc["clicks", "owner"] == "headrace"
