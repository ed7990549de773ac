"""What the documents say about the house is what is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL_ROOMS = {
    "lake",
    "dbt_project",
    "new_lake",
    "orchestration",
    "ui",
    "demo",
    "benchmarks",
    "docs",
    "infra",
}


def test_the_contributing_guide_names_every_room_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_/]+)` \|", text, re.MULTILINE))
    rooms = {f"headrace/{f.parent.name}" for f in (ROOT / "headrace").glob("*/__init__.py")}
    assert listed == rooms | TOP_LEVEL_ROOMS
    assert all((ROOT / room).is_dir() for room in TOP_LEVEL_ROOMS)


def test_every_decision_is_listed_and_at_most_sixty_lines() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for record in folder.glob("0*.md"):
        assert f"({record.name})" in index
        assert len(record.read_text().splitlines()) <= 60


def test_every_relative_link_in_the_documents_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
