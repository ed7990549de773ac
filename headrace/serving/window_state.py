"""What the online store says of a window view: its state carries the resolved declaration."""

import functools
import hashlib
from dataclasses import replace

import pyarrow as pa

from headrace.definitions.properties import WINDOWS
from headrace.definitions.windows import Windows
from headrace.serving.store import EntityKey, OnlineRow, ViewState, from_epoch_us
from headrace.serving.tile_text import read_tiles, write_tiles
from headrace.serving.tiles import EntityTiles

_WINDOWS = WINDOWS.encode()  # in the metadata of the state's schema
_TILES = "tiles_1"  # the only column that the store keeps; with the format of its text
_CACHED = 256


def stored_schema(windows: Windows, entity: pa.Schema) -> pa.Schema:
    """Return the schema of a window view's state; `entity` has the columns of the entity.

    Another declaration gives another one, so that its rows never mix with those of this one.
    """
    fields = [*entity, pa.field(_TILES, pa.string(), nullable=False)]
    return pa.schema(fields, metadata={_WINDOWS: windows.to_json().encode()})


def stored_columns() -> tuple[str, ...]:
    """Name the columns that the store keeps of a window view."""
    return (_TILES,)


def windows_of(state: ViewState) -> Windows | None:
    """Return the declaration that a view was published by; None if it is no window view."""
    text = (state.schema.metadata or {}).get(_WINDOWS)
    return None if text is None else _parsed(text)


@functools.lru_cache(maxsize=_CACHED)
def _parsed(text: bytes) -> Windows:
    return Windows.from_json(text.decode())


@functools.lru_cache(maxsize=_CACHED)
def definition_of(windows: Windows) -> str:
    """Return a name for what decides the values: another one where a value may be another."""
    said = replace(windows, stale_us=0).to_json()
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def row_of(windows: Windows, key: EntityKey, tiles: EntityTiles) -> OnlineRow:
    """Return the tiles of an entity as the store keeps them."""
    return OnlineRow(
        key=key,
        event_time=from_epoch_us(tiles.newest_event_us),
        known_at=from_epoch_us(tiles.newest_known_us),
        values=(write_tiles(windows, tiles),),
    )


def tiles_of(windows: Windows, row: OnlineRow | None) -> EntityTiles | None:
    """Read the tiles of a stored row."""
    return None if row is None else read_tiles(windows, str(row.values[0]))


def value_state(state: ViewState, windows: Windows) -> ViewState:
    """Return the state with the columns of the values, as those of other views have it."""
    entity = [state.schema.field(name) for name in state.entity]
    columns = tuple(column.name for column in windows.columns)
    return replace(state, columns=columns, schema=pa.schema([*entity, *windows.schema()]))
