"""What would leave samples stale without a word: a contract that changed, a model that was deleted."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.definitions.properties import MODEL_PROPERTY
from headrace.errors import DefinitionError
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.plan import plan_build
from tests.samples.factories import RATES, Shop, sample_set

RATES_STREAM = """
stream: rates
table: shop.rates
source: {files: "rates/*.jsonl"}
format: json
event_time: event_time
known_at: {column: known_at}
fields:
  item: {type: long, required: true}
  event_time: {type: timestamptz, required: true}
  known_at: {type: timestamptz, required: true}
  rate: {type: double}
VIEW
"""


def declare(shop: Shop, view: str) -> None:
    folder = shop.lake.settings.root / "lake" / "streams"
    (folder / "rates.yaml").write_text(RATES_STREAM.replace("VIEW", view))


def test_a_changed_view_of_a_stream_counts_before_its_next_ingest(shop: Shop) -> None:
    declare(shop, "feature_view: {entity: [item], ttl: 2d}")
    build(shop.lake, sample_set())
    assert not plan_build(shop.lake, sample_set())

    declare(shop, "feature_view: {entity: [item], ttl: 1h}")
    planned = plan_build(shop.lake, sample_set())
    assert set(planned.reasons.values()) == {"new definition"}
    assert not planned.unchanged
    assert planned.recipe.features[0].ttl_us == 3_600_000_000

    declare(shop, "feature_view: {entity: [item], ttl: 1h, delay: 5m}")
    assert plan_build(shop.lake, sample_set()).recipe.features[0].delay_us == 300_000_000
    declare(shop, "")
    with pytest.raises(DefinitionError):
        plan_build(shop.lake, sample_set())


def model_of(shop: Shop, project: Path) -> Path:
    """Let a dbt model be what built the rates."""
    (project / "models" / "features").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: shop\n")
    model = project / "models" / "features" / "rates.sql"
    model.write_text("select 1")
    shop.lake.create(
        TableName("shop", "rates"),
        RATES,
        partition_by=["day(event_time)"],
        properties={MODEL_PROPERTY: "shop.rates"},
    )
    return model


def test_a_deleted_model_that_samples_read_is_told_of(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shop.lake.settings.root
    monkeypatch.delenv("HEADRACE_DBT_PROJECT", raising=False)
    monkeypatch.setenv("HEADRACE_LAKE", str(root / "lake" / "lake.toml"))
    (root / "lake" / "samples").mkdir()
    (root / "lake" / "samples" / "taps.yaml").write_text(SAMPLES)
    model = model_of(shop, root / "dbt_project")
    assert not plan_build(shop.lake, sample_set()).notes

    model.rename(root / "dbt_project" / "models" / "rates.sql")  # a model may move
    assert not plan_build(shop.lake, sample_set()).notes
    (root / "dbt_project" / "models" / "rates.sql").rename(
        root / "dbt_project" / "models" / "rates_v2.sql"  # one of several versions
    )
    assert not plan_build(shop.lake, sample_set()).notes
    (root / "dbt_project" / "models" / "rates_v2.sql").unlink()

    (note,) = plan_build(shop.lake, sample_set()).notes
    assert "shop.rates" in note
    build = ["samples", "build", "taps"]
    # the tables of this lake were made without streams, whose columns `check` misses
    for command, status in ((build, 0), (build, 0), (["check"], 1)):
        ran = CliRunner().invoke(make_app(), command)
        assert ran.exit_code == status, ran.output
        assert " ".join(note.split()) in " ".join(ran.stdout.split())
    # what another project has built is that project's business, and a broken one says nothing
    for text in ("name: other\n", "name: [\n", ""):
        (root / "dbt_project" / "dbt_project.yml").write_text(text)
        assert not plan_build(shop.lake, sample_set()).notes


SAMPLES = """
samples: taps
table: samples.taps
exposures: {table: shop.shown, id: shown_id, entities: [item], columns: [slot]}
features: [{view: shop.rates, columns: [rate]}]
labels: [{name: tap, stream: shop.taps, window: 2h}]
"""
