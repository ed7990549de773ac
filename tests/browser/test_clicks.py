"""Ways through the pages that a person goes, click by click, with a picture of each stop."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import Page, browser

_WINDOWS = ((1920, "light"), (1280, "light"), (1280, "dark"), (420, "light"), (420, "dark"))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as found:
        yield found
    asked = {urlsplit(url).hostname for url in found.requests if url.startswith(("http", "ws"))}
    assert asked == {"127.0.0.1"}


def test_from_the_link_of_an_asset_to_its_samples_lineage_and_version(
    pages: str, page: Page, screenshots: Path
) -> None:
    page.open(f"{pages}/tables?table=samples.ctr")  # what Dagster links to
    page.wait_for("The first 50 of")
    page.picture(screenshots / "table.png")
    page.click("Lineage", within="stMainBlockContainer")
    page.wait_for("Inputs")
    page.wait_for("As builds of dbt models, samples and versions recorded it")  # the columns
    page.picture(screenshots / "lineage.png")
    page.click("Samples")
    page.wait_for("What serving knew")
    page.wait_for("Exposure at")
    page.picture(screenshots / "inspector.png")
    page.click("Versions")
    page.wait_for("Content hash")
    page.picture(screenshots / "version.png")


def test_from_the_picture_of_the_lake_to_the_page_of_a_stop(
    pages: str, page: Page, screenshots: Path
) -> None:
    page.open(pages)
    page.wait_for("Last commit")
    page.picture(screenshots / "overview.png")
    page.click("impressions/*.jsonl")
    page.wait_for("Rows per minute")
    page.picture(screenshots / "ingest.png")
    assert "stream=impressions" in page.address()


def test_from_refused_records_to_their_dead_letters(
    troubled_pages: str, page: Page, screenshots: Path
) -> None:
    page.open(troubled_pages)
    page.wait_for("Last commit")
    page.wait_for("6 records rejected")
    page.picture(screenshots / "troubled-overview.png")
    page.click("impressions/*.jsonl")
    page.wait_for("headrace dead-letters replay impressions")
    page.wait_for("headrace dead-letters show impressions")
    page.picture(screenshots / "troubled-dead-letters.png")


def test_a_plan_that_removes_files_is_shown_first_and_applied_for_its_name(
    troubled_pages: str, page: Page, screenshots: Path
) -> None:
    table = "dead_letters.records"
    page.open(f"{troubled_pages}/tables?table={table}")
    page.click("Health and maintenance")
    page.wait_for(f"headrace maintain {table} --apply")
    page.picture(screenshots / "troubled-plan.png")
    field = "Type the table's name to apply its plan"
    page.type("raw.impressions", into=field)
    page.click("Apply")
    page.wait_for(f"Nothing was done: type {table}")
    page.type(table, into=field)
    page.click("Apply")
    page.wait_for("rewrite manifests: ")
    page.picture(screenshots / "troubled-applied.png")


def test_from_a_version_to_what_differs_and_which_values_moved(
    troubled_pages: str, page: Page, screenshots: Path
) -> None:
    page.open(troubled_pages)
    page.click("Versions")
    page.wait_for("Contents of ctr v2")
    page.wait_for("From ctr v1 to ctr v2: +24 rows, 2 days differ")
    page.picture(screenshots / "troubled-versions.png")
    page.click("Drift (1)")
    page.wait_for("Recorded when the versions were published")
    page.picture(screenshots / "troubled-drift.png")


@pytest.mark.parametrize(("width", "scheme"), _WINDOWS)
def test_no_page_is_wider_than_its_window_and_every_picture_is_described(
    pages: str, page: Page, screenshots: Path, width: int, scheme: str
) -> None:
    page.resize(width, scheme=scheme)
    for path, shown in {
        "": "Last commit",
        "ingest": "Rows per minute",
        "tables": "worst score first",
        "samples": "Exposure at",
        "serving": "Online store",
        "lineage": "Arrows follow the data",
        "versions": "Content hash",
    }.items():
        page.open(f"{pages}/{path}")
        page.wait_for(shown)
        page.picture(screenshots / f"{path or 'overview'}-{width}-{scheme}.png")
        # what a page draws last may be wider until it has its place
        page.wait_until("document.documentElement.scrollWidth <= window.innerWidth + 1")
        unnamed = (
            "[...document.querySelectorAll('img, canvas, button, a[href], input')].filter(each => "
            "each.checkVisibility() && !(each.alt || each.innerText || each.ariaLabel || "
            "each.title || each.placeholder || (each.labels && each.labels.length) || "
            "each.closest('[aria-label], [role=img], [data-testid=stDataFrame]'))).map("
            "each => each.outerHTML.slice(0, 120))"
        )
        page.wait_for_none(unnamed)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_accessibility_asks_for(
    pages: str, page: Page, scheme: str
) -> None:
    page.resize(1280, scheme=scheme)
    page.open(pages)
    page.wait_for("Last commit")
    page.wait_for_none(_LOW_CONTRAST)  # what is drawn anew is pale for a moment


def test_the_links_of_the_picture_are_reached_by_keyboard(pages: str, page: Page) -> None:
    page.open(pages)
    page.wait_for("Last commit")
    page.wait_for("item_ctr")
    reached = set[str]()
    for _ in range(60):
        page.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || ''").strip())
    names = {each.split("\n")[-1] for each in reached}  # an icon is text before its link
    assert {"Tables", "impressions/*.jsonl", "item_ctr"} <= names


# WCAG 2.2 AA: 4.5 to 1, and 3 to 1 for large text; of text on a plain background
_LOW_CONTRAST = """(() => {
  const parts = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  ).reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const over = (top, below) => {
    const alpha = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(at => top[at] * alpha + below[at] * (1 - alpha));
  };
  const behind = each => {
    const layers = [];
    for (let at = each; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => top.length ? over(top, below) : below, [255, 255, 255]);
  };
  const shown = each => {
    let alpha = 1;
    for (let at = each; at; at = at.parentElement) alpha *= parseFloat(getComputedStyle(at).opacity);
    return alpha;
  };
  const found = new Set();
  for (const each of document.querySelectorAll('[data-testid=stMain] *')) {
    const own = [...each.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !each.checkVisibility() || each.getAttribute('data-testid') === 'stIconMaterial') continue;
    const style = getComputedStyle(each), below = behind(each);
    const color = parts(style.color);
    const seen = [...color.slice(0, 3), (color.length > 3 ? color[3] : 1) * shown(each)];
    const [a, b] = [light(over(seen, below)), light(below)].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.add(`${ratio.toFixed(2)} ${each.innerText.slice(0, 40)}`);
  }
  return [...found];
})()"""
