"""The Serving page on a log with requests that were answered as in training, and one that was stale."""

from pathlib import Path

import pytest
import streamlit as st

from headrace.api import Lake
from headrace.serving.sqlite import SQLiteOnlineStore
from tests.samples.factories import settings_in
from tests.serving.test_skew import Served, ago, now
from tests.ui.conftest import Open
from ui.serving_facts import percentile

pytestmark = pytest.mark.slow


@pytest.fixture
def logged(app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A lake with six served values, the last of them stale; return the ids of its requests."""
    _ = app  # its environment comes first
    settings = settings_in(tmp_path)
    with Lake.open(settings) as lake, SQLiteOnlineStore(settings.online_store) as store:
        served = Served(lake, store)
        monkeypatch.setenv("HEADRACE_LAKE", str(served.declare()))
        monkeypatch.setenv("HEADRACE_STATE_DIR", str(settings.state_dir))
        for item in range(5):
            served.rate(item, item / 8, happened=ago(30))
        served.publish()
        served.ask(0, 1, 2, 3, 4)
        served.rate(4, 0.75, happened=now())
        served.ask(4)
        log = served.logged().sort_by("event_time")
    st.cache_data.clear()
    st.cache_resource.clear()
    return list(dict.fromkeys(log["request_id"].to_pylist()))


def test_it_shows_freshness_times_and_skew_by_cause(app: Open, logged: list[str]) -> None:
    assert len(logged) == 2
    shown = app("serving")
    said = {each.label: each.value for each in shown.metric}
    assert (said["Requests"], said["Time, p50"], said["Time, p99"]) == ("2", "4.0 ms", "4.0 ms")
    assert said["As in training"].startswith("83")
    online, skew, request = (each.value for each in shown.dataframe)
    assert (list(online["view"]), list(online["entities"])) == (["shop.rates"], [5])
    assert skew.to_dict("records") == [{"feature": "rate", "equal": 5, "staleness": 1}]
    assert list(request["feature"]) == ["rate"]


def test_a_request_is_shown_value_by_value_beside_training(app: Open, logged: list[str]) -> None:
    (stale,) = app("serving", request=logged[1]).dataframe[2].value.to_dict("records")
    assert (stale["served"], stale["training"]) == ("0.5", "0.75")
    assert (stale["difference"], stale["status"]) == ("staleness", "fresh")
    assert stale["from"].startswith("shop.rates at ")
    (first,) = app("serving", request=logged[0]).dataframe[2].value.to_dict("records")
    assert (first["served"], first["training"], first["difference"]) == ("0.0", "0.0", "equal")


def test_a_request_that_is_gone_is_said(app: Open, logged: list[str]) -> None:
    assert logged
    shown = app("serving", request="0")
    assert "There is no request `0`" in shown.warning[0].value


def test_percentiles_are_values_that_were_seen() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([7.0], 0.99) == 7
