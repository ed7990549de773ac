"""Compare a text with its file here; `pytest --update-golden` writes the file anew."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    """The files of this folder; with `update` they are written and nothing is compared."""

    update: bool

    def check(self, name: str, text: str) -> None:
        """Assert that a text is what its file holds."""
        file = _FOLDER / name
        if self.update:
            file.write_text(text)
        assert text == file.read_text(), "if the new text is better, run pytest --update-golden"
