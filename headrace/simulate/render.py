"""The text of records: JSON lines and CSV built column by column."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.simulate.arrival import KINDS, Arrivals
from headrace.simulate.draws import Ints
from headrace.simulate.plan import CAMPAIGNS
from headrace.simulate.traffic import AFFINITIES, FIRST_USER, SEGMENTS, Slice, segment_of
from headrace.simulate.user_state import States

_ISO_CHARS = 26


@dataclass(frozen=True, kw_only=True)
class Form:
    """The format of one stream's records, and the fields that are wrong in malformed ones."""

    stream: str
    suffix: str
    header: str = ""
    time: str
    needed: str  # a required integer field
    typed: str  # an integer field that malformed records fill with a word


_CLICK_COLUMNS = (
    "click_id",
    "impression_id",
    "clicked_at",
    "received_at",
    "policy",
    "campaign",
    "item_id",
    "position",
    "user_segment",
)
IMPRESSIONS = Form(
    stream="impressions", suffix="jsonl", time="shown_at", needed="item_id", typed="position"
)
CLICKS = Form(
    stream="clicks",
    suffix="csv",
    header=",".join(_CLICK_COLUMNS) + "\n",
    time="clicked_at",
    needed="item_id",
    typed="position",
)
WATCHES = Form(
    stream="watches", suffix="jsonl", time="watched_at", needed="seconds", typed="seconds"
)
USER_STATE = Form(
    stream="user_state", suffix="jsonl", time="as_of", needed="user_id", typed="sessions_7d"
)
FORMS = (IMPRESSIONS, CLICKS, WATCHES, USER_STATE)


def impression_lines(traffic: Slice, arrivals: Arrivals, *, items: int) -> pa.Array:
    """Write one line per record of the impressions stream."""
    shown, visits = traffic.impressions, traffic.sessions
    policy = np.where(visits.explores, "explore", "greedy")
    propensity = np.where(visits.explores, repr(1 / items), "null")
    favourites = _join(*(_text(visits.affinity[:, k]) for k in range(AFFINITIES)), sep=",")
    about_visit = _join(
        ',"policy":"',
        pa.array(policy),
        '","campaign":"',
        _names(CAMPAIGNS, visits.campaign),
        '","propensity":',
        pa.array(propensity),
        ',"user_segment":"',
        _names(SEGMENTS, segment_of(visits.user)),
        '","session_id":"s',
        _text(visits.number),
        '","user_id":',
        _text(visits.user + FIRST_USER),
        ',"affinity_items":[',
        pc.if_else(pa.array(visits.known), favourites, ""),
        "]}\n",
    )
    row = arrivals.event
    lines = _join(
        '{"impression_id":"sim/',
        _text(shown.number[row]),
        '","shown_at":"',
        iso(shown.shown_at[row]),
        'Z","received_at":"',
        iso(arrivals.received_at),
        'Z","item_id":',
        _text(shown.item_id[row]),
        ',"position":',
        _text(shown.position[row]),
        about_visit.take(pa.array(shown.session[row])),
    )
    return _spoil(lines, arrivals.kind, form=IMPRESSIONS)


def click_lines(traffic: Slice, arrivals: Arrivals) -> pa.Array:
    """Write one line per record of the clicks stream."""
    shown, visits, clicks = traffic.impressions, traffic.sessions, traffic.clicks
    row = clicks.row[arrivals.event]
    visit = shown.session[row]
    number = _text(shown.number[row])
    lines = _join(
        "click/",
        number,
        pc.if_else(pa.array(clicks.ordinal[arrivals.event] == 0), "/0", "/1"),
        ",sim/",
        number,
        ",",
        iso(clicks.clicked_at[arrivals.event]),
        "Z,",
        iso(arrivals.received_at),
        pc.if_else(pa.array(visits.explores[visit]), "Z,explore,", "Z,greedy,"),
        _names(CAMPAIGNS, visits.campaign[visit]),
        ",",
        _text(shown.item_id[row]),
        ",",
        _text(shown.position[row]),
        ",",
        _names(SEGMENTS, segment_of(visits.user[visit])),
        "\n",
    )
    return _spoil(lines, arrivals.kind, form=CLICKS)


def watch_lines(traffic: Slice, arrivals: Arrivals) -> pa.Array:
    """Write one line per record of the watches stream."""
    watches = traffic.watches
    number = _text(traffic.impressions.number[watches.row[arrivals.event]])
    lines = _join(
        '{"watch_id":"watch/',
        number,
        '","impression_id":"sim/',
        number,
        '","watched_at":"',
        iso(watches.watched_at[arrivals.event]),
        'Z","received_at":"',
        iso(arrivals.received_at),
        'Z","seconds":',
        _text(watches.seconds[arrivals.event]),
        "}\n",
    )
    return _spoil(lines, arrivals.kind, form=WATCHES)


def state_lines(states: States, arrivals: Arrivals) -> pa.Array:
    """Write one line per record of the user-state stream."""
    row = arrivals.event
    lines = _join(
        '{"user_id":',
        _text(states.user[row] + FIRST_USER),
        ',"as_of":"',
        iso(states.as_of[row]),
        'Z","received_at":"',
        iso(arrivals.received_at),
        'Z","sessions_7d":',
        _text(states.sessions_7d[row]),
        ',"watch_seconds_7d":',
        _text(states.watch_seconds_7d[row]),
        "}\n",
    )
    return _spoil(lines, arrivals.kind, form=USER_STATE)


def iso(times_us: Ints) -> pa.Array:
    """Write times as `2026-01-05T00:00:00.000000`, always 26 characters."""
    text = pc.cast(pa.array(times_us, pa.timestamp("us")), pa.string())
    _, offsets, data = text.buffers()
    letters = np.frombuffer(data, dtype=np.uint8).copy()
    letters[: times_us.size * _ISO_CHARS].reshape(-1, _ISO_CHARS)[:, 10] = ord("T")
    return pa.StringArray.from_buffers(times_us.size, offsets, pa.py_buffer(letters))


def _text(numbers: Ints) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())


def _names(names: Sequence[str], index: Ints) -> pa.Array:
    return pa.array(names).take(pa.array(index))


def _join(*parts: pa.Array | str, sep: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*parts, sep)


def _spoil(lines: pa.Array, kind: Ints, *, form: Form) -> pa.Array:
    """Replace the lines of malformed records by malformed lines."""
    bad = np.flatnonzero(kind)
    if not bad.size:
        return lines
    spoilt = [
        _spoilt(lines[int(row)].as_py(), kind=KINDS[int(kind[row])], form=form) for row in bad
    ]
    index = np.arange(len(lines), dtype=np.int64)
    index[bad] = len(lines) + np.arange(bad.size)
    return pa.concat_arrays([lines, pa.array(spoilt, pa.string())]).take(pa.array(index))


def _spoilt(line: str, *, kind: str, form: Form) -> str:
    if form.suffix == "csv":
        return _spoilt_csv(line, kind=kind, form=form)
    if kind == "broken":
        return line[: len(line) // 2] + "\n"
    if kind == "missing_field":
        return re.sub(rf',"{form.needed}":\d+|"{form.needed}":\d+,', "", line, count=1)
    if kind == "wrong_type":
        return re.sub(rf'"{form.typed}":\d+', f'"{form.typed}":"many"', line, count=1)
    return re.sub(rf'("{form.time}":"[^"]*)Z"', r'\1"', line, count=1)


def _spoilt_csv(line: str, *, kind: str, form: Form) -> str:
    names = form.header.rstrip("\n").split(",")
    cells = line.rstrip("\n").split(",")
    if kind == "broken":
        cells = cells[: len(cells) // 2]
    elif kind == "missing_field":
        cells[names.index(form.needed)] = ""
    elif kind == "wrong_type":
        cells[names.index(form.typed)] = "many"
    else:
        cells[names.index(form.time)] = cells[names.index(form.time)].rstrip("Z")
    return ",".join(cells) + "\n"
