"""The pages that show something done: it is done, in their order and in one lake, and comes out as shown."""

from collections.abc import Mapping

import pytest
import yaml

from tests.conftest import ROOT, enter
from tests.docs.blocks import Block, blocks_of, fits
from tests.docs.do_pages import do_pages

_FIRST = "tutorial.md"


def _pages() -> list[str]:
    """List the pages that show something to do; the tutorial makes the lake of the others."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    shown = [
        path
        for path in _leaves(nav)
        if path.endswith(".md")
        and (ROOT / "docs" / path).exists()
        and blocks_of((ROOT / "docs" / path).read_text())
    ]
    assert shown[0] == _FIRST
    return shown


def _leaves(entry: object) -> list[str]:
    if isinstance(entry, dict):
        return [leaf for each in entry.values() for leaf in _leaves(each)]
    if isinstance(entry, list):
        return [leaf for each in entry for leaf in _leaves(each)]
    return [str(entry)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[tuple[str, int]]]:
    """What each block of each page printed, and its status."""
    pages = _pages()
    with pytest.MonkeyPatch.context() as patch:
        enter({"COLUMNS": "100"}, patch)  # and come back from the lake
        folder = tmp_path_factory.mktemp("pages")
        shown = list(do_pages(folder, [str(ROOT / "docs" / page) for page in pages]))
    return dict(zip(pages, shown, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("page", _pages())
def test_a_page_does_what_it_shows(page: str, done: Mapping[str, list[tuple[str, int]]]) -> None:
    blocks = blocks_of((ROOT / "docs" / page).read_text())
    for block, (printed, status) in zip(blocks, done[page], strict=True):
        assert status == block.status, f"{block.text}\n{printed}"
        assert not block.shown or fits(block.shown, printed), f"{block.text}\n{printed}"


def test_blocks_are_read_in_order_with_what_they_are_to_print() -> None:
    page = (
        '```yaml title="a/b.yaml"\nx: 1\n```\n```yaml\nno: file\n```\n'
        "```console\n$ headrace a\none\n$ headrace b  # status 1\n```\n"
        "```python\nprint(1)\n```\n\n```text\n1\n```\n```bash\nmake it\n```\n"
    )
    assert blocks_of(page) == (
        Block(kind="file", path="a/b.yaml", text="x: 1\n"),
        Block(kind="command", text="headrace a", shown="one\n"),
        Block(kind="command", text="headrace b", status=1),
        Block(kind="python", text="print(1)\n", shown="1\n"),
    )


@pytest.mark.parametrize(
    ("shown", "printed", "is_so"),
    [
        ("a  b", "a b\n\n", True),
        ("a … c", "a b c", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a", "a\nb", False),
        ("a … c", "a b d", False),
        ("", "a", False),
        ("…", "a\nb", True),
        ("a.c", "abc", False),
    ],
)
def test_what_is_printed_fits_what_is_shown_word_by_word(
    shown: str, printed: str, is_so: bool
) -> None:
    assert fits(shown, printed) is is_so
