"""The job of a declaration that was removed is stopped and released by its former name."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import open_tables
from headrace.tables.commits.operations import move_properties
from tests.flink.contracts import contract
from tests.flink.replies import answering

SUBJECT = "paimon:shop.former"
Replies = dict[str, list[tuple[int, Any]]]


@pytest.fixture
def former(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Lake, Replies]]:
    """A lake without declarations, whose table says that Flink wrote a keyed table; and what Flink says."""
    home = tmp_path / "lake" / "lake.toml"
    home.parent.mkdir()
    home.write_text('profile = "local"\n[profiles.local]\nstate_dir = "state"\n')
    replies: Replies = {"GET /jobs/overview": [(200, {"jobs": []})]}
    settings = dataclasses.replace(settings, state_dir=tmp_path / "state")
    with answering(replies) as (address, _), Lake.open(settings) as lake:
        monkeypatch.setenv("HEADRACE_LAKE", str(home))
        monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
        monkeypatch.setenv("HEADRACE_FLINK_URI", address)
        monkeypatch.setenv("HEADRACE_FLINK_GATEWAY_URI", address)
        open_tables(lake, contract())
        note = Owner(by=FLINK, epoch=1, jobs=("c1",)).note(stream=SUBJECT)
        move_properties(lake.table("raw.things"), lambda _: dict(note))
        yield lake, replies


def run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), ["flink", *words])


def owner(lake: Lake) -> Owner:
    return Owner.read(lake.table("raw.things").head().properties, stream=SUBJECT)


def test_it_is_released_so_that_rows_can_be_removed_again(former: tuple[Lake, Replies]) -> None:
    lake, _ = former
    assert "no keyed table `paimon:shop.other`" in run("status", "paimon:shop.other").stderr
    done = run("handover", SUBJECT, "--to", "headrace")
    assert (done.exit_code, owner(lake).by) == (0, HEADRACE)


def test_it_is_named_while_it_runs_and_never_begun(former: tuple[Lake, Replies]) -> None:
    lake, replies = former
    uuid = str(lake.table("raw.things").iceberg().metadata.table_uuid)[:8]
    name = f"headrace {SUBJECT} {uuid} epoch 1"
    job = {"jid": "c1", "name": name, "state": "RUNNING", "start-time": 0}
    replies["GET /jobs/overview"] = [(200, {"jobs": [job]})]
    for words in (("status", SUBJECT), ("submit", SUBJECT), ("handover", SUBJECT, "--to", "flink")):
        done = run(*words)
        assert done.exit_code
        assert f"nothing declares `{SUBJECT}`" in done.stderr
    assert owner(lake).by == FLINK
