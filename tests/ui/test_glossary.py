"""Words are explained in place, as the glossary and the README explain them."""

import re

from tests.conftest import ROOT
from ui.words import WORDS


def test_tooltips_say_what_the_glossary_and_the_readme_say() -> None:
    for page in ("docs/glossary.md", "README.md"):
        text = (ROOT / page).read_text()
        for word, meaning in WORDS.items():
            assert f"| {word} | {meaning} |" in text, (page, word)
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| (.+?) \| .+ \| .+ \|$", glossary, re.MULTILINE)
    assert [row for row in rows if row not in ("word", "---")] == list(WORDS)


def test_every_word_that_a_page_explains_is_of_the_glossary() -> None:
    used = {
        word
        for path in (ROOT / "ui").rglob("*.py")
        for word in re.findall(r"meaning\([\"'](.+?)[\"']\)", path.read_text())
    }
    assert used <= set(WORDS)
    assert len(used) >= 8
