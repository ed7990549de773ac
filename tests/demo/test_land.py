"""The landing files: the logs of the wheel, whole, in time order, the same bytes every time."""

import hashlib
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from demo.facts import LEAKING_DAY
from demo.land import Landed, land
from demo.open_bandit import CAMPAIGNS, logs_folder


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Landed]:
    folder = tmp_path_factory.mktemp("landed")
    return folder, land(folder)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_every_logged_impression_and_click_lands_once(landed: tuple[Path, Landed]) -> None:
    folder, counts = landed
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("impressions/*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    clicks = [pa_csv.read_csv(path) for path in sorted(folder.glob("clicks/*.csv"))]
    assert len(rows) == len({row["impression_id"] for row in rows}) == counts.impressions == 60_000
    assert sum(table.num_rows for table in clicks) == counts.clicks == 287
    ids = {row["impression_id"] for row in rows}
    assert all(set(table["impression_id"].to_pylist()) <= ids for table in clicks)
    assert len({row["user_segment"] for row in rows}) == 337


def test_files_are_six_hour_windows_in_time_order(landed: tuple[Path, Landed]) -> None:
    folder, _ = landed
    paths = sorted(folder.glob("impressions/*.jsonl"))
    assert len(paths) == 28
    last = ""
    for path in paths:
        start = datetime.fromisoformat(f"{path.stem}:00:00+00:00")
        times = [json.loads(line)["shown_at"] for line in path.read_text().splitlines()]
        assert times == sorted(times)
        assert last <= times[0]
        assert start <= datetime.fromisoformat(times[0])
        assert datetime.fromisoformat(times[-1]) < start + timedelta(hours=6)
        last = times[-1]


def test_affinity_items_are_the_columns_that_are_not_zero(landed: tuple[Path, Landed]) -> None:
    folder, _ = landed
    rows = [
        json.loads(line)
        for path in folder.glob("impressions/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    found = {row["impression_id"]: row["affinity_items"] for row in rows}
    for campaign in CAMPAIGNS:
        log = pa_csv.read_csv(logs_folder() / "random" / campaign / f"{campaign}.csv")
        names = [name for name in log.column_names if name.startswith("user-item_affinity_")]
        values = log.select(names).to_pylist()
        for at in range(0, log.num_rows, 7):
            wanted = [int(name.rsplit("_", 1)[1]) for name in names if values[at][name] != 0]
            assert sorted(found[f"random/{campaign}/{at}"]) == sorted(wanted)


def test_affinities_give_the_clicks_away_on_the_leaking_day_and_on_no_other(
    landed: tuple[Path, Landed],
) -> None:
    folder, _ = landed
    clicked = {
        id_
        for path in folder.glob("clicks/*.csv")
        for id_ in pa_csv.read_csv(path)["impression_id"].to_pylist()
    }
    with_affinity: dict[tuple[str, bool], list[bool]] = {}
    for path in folder.glob("impressions/*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            kind = (row["shown_at"][:10], row["impression_id"] in clicked)
            with_affinity.setdefault(kind, []).append(bool(row["affinity_items"]))
    share = {kind: sum(found) / len(found) for kind, found in with_affinity.items()}
    for (day, is_click), of_kind in share.items():
        leaks = is_click and day == LEAKING_DAY.isoformat()
        assert of_kind == 1 if leaks else of_kind < 0.15


def test_both_policies_list_the_same_items_under_other_hashes(landed: tuple[Path, Landed]) -> None:
    folder, counts = landed
    (path,) = folder.glob("items/*.parquet")
    assert pq.ParquetFile(path).read().num_rows == counts.items == 80 + 34 + 46
    for campaign in CAMPAIGNS:
        one, other = (
            pa_csv.read_csv(logs_folder() / policy / campaign / "item_context.csv")
            for policy in ("bts", "random")
        )
        assert one["item_feature_0"].equals(other["item_feature_0"])
        for name in ("item_feature_1", "item_feature_2", "item_feature_3"):
            pairs = set(zip(one[name].to_pylist(), other[name].to_pylist(), strict=True))
            assert len(pairs) == len(set(one[name].to_pylist())) == len({b for _, b in pairs})


def test_landing_twice_writes_nothing_and_bytes_are_the_same_elsewhere(
    landed: tuple[Path, Landed], tmp_path: Path
) -> None:
    folder, counts = landed
    before = digests(folder)
    assert land(folder).written == 0
    assert land(tmp_path).written == counts.files
    assert digests(tmp_path) == digests(folder) == before
    times = [path.stat().st_mtime_ns for path in sorted(folder.rglob("*.*"))]
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.*"))]


def test_a_file_left_half_written_is_no_landing_file(tmp_path: Path) -> None:
    (tmp_path / "impressions").mkdir()
    (tmp_path / "impressions" / ".2019-11-24T00.jsonl.1").write_text("half")
    counts = land(tmp_path)
    assert counts.written == counts.files
    assert len(list(tmp_path.glob("impressions/[!.]*.jsonl"))) == 28


def test_the_package_of_the_logs_is_never_imported(landed: tuple[Path, Landed]) -> None:
    assert landed[1].files == 57
    assert not [name for name in sys.modules if name.split(".")[0] == "obp"]
