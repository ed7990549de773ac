"""Inspecting a sample: the times behind each value, and what was there but not known yet."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.errors import SampleNotFoundError
from headrace.samples.build import build
from headrace.samples.inspect import Moment, inspect_sample
from tests.raising import refused
from tests.samples.factories import Shop, at, day, sample_set

DECLARED = """
samples: taps
table: samples.taps
exposures: {table: shop.shown, id: shown_id, entities: [item], columns: [slot]}
features:
  - {view: shop.rates, columns: [rate]}
labels:
  - {name: tap, stream: shop.taps, window: 2h}
"""


def moment(happened: float, known: float, *, on: int) -> Moment:
    return Moment(event_time=at(happened, day=on), known_at=at(known, day=on))


def test_it_names_the_row_used_and_the_newer_row_that_came_too_late(shop: Shop) -> None:
    shop.rate((1, at(7.5, day=1), at(8.5, day=1), 0.9))
    shop.tap(("d1-morning", at(9, day=1), at(9, day=1), 1), watermark=at(12, day=1))
    build(shop.lake, sample_set())
    found = inspect_sample(shop.lake, [sample_set().table], "d1-morning")
    (rates,), (tap,) = found.features, found.labels
    assert rates.values == (("rate", 0.1),)
    assert (rates.used, rates.expired) == (moment(7, 7, on=1), None)
    assert rates.not_used == moment(7.5, 8.5, on=1)
    assert (tap.value, tap.state, tap.at) == (1, "mature", at(9, day=1))
    assert (tap.window_ends, tap.watermark) == (at(10, day=1), at(12, day=1))


def test_it_tells_an_expired_row_from_none(shop: Shop) -> None:
    shop.show(("d9", at(8, day=9), 1), ("nothing", at(8, day=9), 7))
    build(shop.lake, sample_set(), days=[day(9)])
    expired, nothing = (
        inspect_sample(shop.lake, [sample_set().table], name).features[0]
        for name in ("d9", "nothing")
    )
    assert (expired.used, expired.expired) == (None, moment(7, 7, on=2))
    assert (nothing.used, nothing.expired, nothing.not_used) == (None, None, None)


def test_an_unknown_id_is_an_error_that_says_where_it_looked(shop: Shop) -> None:
    build(shop.lake, sample_set())
    with refused(SampleNotFoundError, sample_sets=("samples.taps",)):
        inspect_sample(shop.lake, [sample_set().table], "x' or true --")


def test_the_commands_build_inspect_and_build_nothing(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.lake.settings.root == tmp_path
    (tmp_path / "lake" / "samples").mkdir()
    (tmp_path / "lake" / "samples" / "taps.yaml").write_text(DECLARED)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    monkeypatch.setenv("COLUMNS", "200")

    def headrace(*arguments: str) -> str:
        done = CliRunner().invoke(make_app(), ["samples", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "2026-03-02  never built" in headrace("build", "taps", "--plan")
    assert "1 rebuilt (never built), 0 unchanged" in headrace(
        "build", "taps", "--day", "2026-03-02"
    )
    assert json.loads(headrace("build", "taps", "--output", "json"))["rows"] == 4
    assert "nothing to rebuild, 3 unchanged" in headrace("build", "taps")

    text = headrace("inspect", "d1-morning", "--set", "taps")
    assert "shop.rates at snapshot" in text
    assert "  rate  0.1\n" in text
    assert "row of 2026-03-02 07:00:00, known 2026-03-02 07:00:00" in text
    shown = json.loads(headrace("inspect", "d1-morning", "--output", "json"))
    assert shown["features"][0]["used"]["known_at"] == "2026-03-02T07:00:00+00:00"
