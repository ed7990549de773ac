"""Values of an answer as the store keeps them: JSON that is neither parsed for it nor written again."""

from collections.abc import Sequence

import pyarrow.types as pt

from headrace.serving.kept import KeptRows
from headrace.serving.vectors import Vectors, ViewRows


def stored_texts(found: Vectors) -> Sequence[str] | None:
    """Return the values by set, each a list in JSON, all views in one; None if they are not kept so."""
    parts = [texts for view in found.views if (texts := _texts(view)) is not None]
    if len(parts) != len(found.views) or not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    if not all(text[0] + text[-1] == "[]" for part in parts for text in part):
        return None  # another writer left space around one
    inner = [[text[1:-1] for text in part] for part in parts]
    return [f"[{','.join(filter(None, row))}]" for row in zip(*inner, strict=True)]


def _texts(view: ViewRows) -> Sequence[str] | None:
    """Return the values of one view by set; None where a part of its columns is asked for."""
    width = len(view.state.columns)
    if not isinstance(view.rows, KeptRows) or view.use.columns != view.state.columns:
        return None
    texts = view.rows.texts(columns=width)
    if texts is None or _has_long_integers(view, view.rows):
        return None
    nothing = f"[{','.join(['null'] * width)}]"
    return [
        text if text is not None and status == "fresh" else nothing
        for text, status in zip(texts, view.statuses, strict=True)
    ]


def _has_long_integers(view: ViewRows, rows: KeptRows) -> bool:
    """Whether a column of integers has a number of more than 64 bits, which is read as a float."""
    kinds = [view.state.schema.field(name).type for name in view.state.columns]
    integers = [place for place, kind in enumerate(kinds) if pt.is_integer(kind)]
    return any(
        type(values[place]) is float
        for place in integers
        for values in rows.values
        if values is not None
    )
