"""Floating numbers in JSON: the nearest value of their type, rounded once, by whatever way they are read."""

import ctypes
import struct
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.definitions.stream import Stream
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.json_lines import JsonDecoder
from tests.amounts import examples
from tests.ingest.factories import CSV_HEADER, csv_line, json_line, make_stream, records_of

LINES = 300  # so many may be alike
MORE = {"narrow": {"type": "float"}, "wide": {"type": "double"}, "list": {"type": "list<float>"}}
ZEROS = ["-0", "-0.0", "0", "0.0", "-0e0", "-0.000"]
_C = ctypes.CDLL(None)
_C.strtof.restype = ctypes.c_float
_C.strtof.argtypes = (ctypes.c_char_p, ctypes.c_void_p)


def bits(value: float | None, kind: str) -> bytes:
    assert value is not None
    return struct.pack(kind, value)


def expected(text: str) -> tuple[bytes, bytes]:
    """What C and Python read: the bits of a float and of a double."""
    return bits(_C.strtof(text.encode(), None), "<f"), bits(float(text), "<d")


def found(decoder: JsonDecoder, stream: Stream, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    checked = check(decoder.decode(lines), stream)
    assert not checked.violations
    rows = checked.rows.to_pylist()
    assert [row["list"] for row in rows] == [[row["narrow"]] * 2 for row in rows]
    return [(bits(row["narrow"], "<f"), bits(row["wide"], "<d")) for row in rows]


def check_every_way(texts: list[str]) -> None:
    """By shape, by the parser and singly."""
    stream = make_stream("json", more_fields=MORE)
    texts = [texts[at % len(texts)] for at in range(LINES)]
    lines = [
        json_line(price=..., narrow="@", wide="@", list=["@", "@"]).replace(b'"@"', text.encode())
        for text in texts
    ]
    wanted = [expected(text) for text in texts]
    for way in ("shape", "parser", "single"):
        decoder = JsonDecoder(stream)
        if way != "shape":
            decoder.alike = lambda lines: iter(())  # pyright: ignore[reportUnknownLambdaType]
        if way == "single":
            decoder.odd = lambda lines: np.arange(len(lines))
        assert found(decoder, stream, lines) == wanted, way


@st.composite
def near_halves(draw: st.DrawFn) -> str:
    """Draw a number half-way between two floats, or just beside it."""
    least = draw(st.floats(2.0**-60, 2.0**60, width=32))
    step = Decimal(draw(st.sampled_from([-1, 0, 1]))) * Decimal(10) ** draw(st.integers(-90, -20))
    with localcontext() as context:
        context.prec = 200
        low = Decimal(least)
        middle = (low + Decimal(float(np.nextafter(np.float32(least), np.float32(np.inf))))) / 2
        text = f"{(middle + step * low).normalize():f}"
    cut = draw(st.sampled_from([len(text), 31]))
    text = text if "." in text else text + ".0"
    text = text[:cut] if "." in text[: cut - 1] else text
    return draw(st.sampled_from(["", "-"])) + text


@pytest.mark.parametrize("text", ZEROS)
def test_the_sign_of_a_zero_stays(text: str) -> None:
    check_every_way([text])


@given(texts=st.lists(near_halves(), min_size=1, max_size=40))
@run_settings(max_examples=examples(300, few=20), deadline=None)
def test_a_number_near_a_half_is_rounded_once(texts: list[str]) -> None:
    check_every_way(texts)


def test_a_number_that_would_be_rounded_twice_is_rounded_once_in_csv_too() -> None:
    text = "1.000000059604644776"  # above the half of two floats; the nearest double is the half
    assert np.float32(float(text)) != _C.strtof(text.encode(), None)
    stream = make_stream("csv", more_fields={"narrow": {"type": "float"}})
    records = records_of(
        [csv_line() + f",{text}".encode()], header=(*CSV_HEADER.decode().split(","), "narrow")
    )
    checked = check(decode(records, stream), stream)
    assert bits(checked.rows.column("narrow")[0].as_py(), "<f") == expected(text)[0]
    check_every_way([text])
