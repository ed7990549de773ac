"""SQL of the parts that Avro values are made of, read from text with one letter for each byte; pure.

`body` is that text, `alphabet` the letters of all bytes in their order. SQL has no arithmetic on bits: what
a byte says is the place of its letter, and bits are taken apart by division.
"""

VARINT_BYTES_MAX = 10
# a length or the number of a symbol; what needs more is longer than any record
SHORT_BYTES_MAX = 4
_LATIN = "'ISO-8859-1'"


def text_of(data: bytes) -> str:
    """Write a text with one letter for each byte."""
    return "U&'" + "".join(f"\\{byte:04x}" for byte in data) + "'"


ALPHABET = text_of(bytes(range(256)))
# the tenth byte has the last of 64 bits
_VARINT = "U&'^([\\0080-\\00ff]{0,8}[\\0000-\\007f]|[\\0080-\\00ff]{9}[\\0000\\0001])'"  # no `\\z`: it goes on


def latin(value: str) -> str:
    """Write bytes as text with one letter for each."""
    return f"decode({value}, {_LATIN})"


def bytes_at(at: str, count: str) -> str:
    """Write the bytes at a place."""
    # `encode` says that it gives one byte, to which a `case` would cut it
    return f"cast(encode(substring(body from {at} for {count}), {_LATIN}) as bytes)"


def digits_at(at: str) -> str:
    """Write the bytes of the number at a place, null if there is none of 64 bits."""
    return f"regexp_extract(substring(body from {at} for {VARINT_BYTES_MAX}), {_VARINT}, 1)"


def code_at(at: str, *, text: str = "body") -> str:
    """Write what a byte says; 0 beyond the end."""
    return f"(instr(alphabet, substring({text} from {at} for 1)) - 1)"


def number(digits: str) -> str:
    """Write the number that the bytes of `digits_at` say: its lowest bit is its sign."""
    sign = f"mod({code_at('1', text=digits)}, 2)"
    return f"({_half(digits, VARINT_BYTES_MAX)} * (1 - 2 * {sign}) - {sign})"


def short(digits: str) -> str:
    """Write a number that is not negative and has few bytes; null if it is not such a one."""
    fits = f"char_length({digits}) <= {SHORT_BYTES_MAX} and mod({code_at('1', text=digits)}, 2) = 0"
    return f"case when {fits} then {_half(digits, SHORT_BYTES_MAX)} end"


def _half(digits: str, count: int) -> str:
    """Write a number without its lowest bit; one of few bytes is an int."""
    parts = [f"mod({code_at('1', text=digits)}, 128) / 2"]
    for place in range(1, count):
        factor = 1 << 7 * place - 1
        seven = f"mod({code_at(str(place + 1), text=digits)}, 128)"
        parts.append(f"{seven} * {factor}" if count <= SHORT_BYTES_MAX else _times(seven, factor))
    return "(" + " + ".join(parts) + ")"


def floating(at: str, *, size: int) -> str:
    """Write the number of 4 or 8 bytes at a place as a double; null if it is not finite."""
    part, most, least = (128, 255, -149) if size == 4 else (16, 2047, -1074)
    low, high = (code_at(f"{at} + {size - back}") for back in (2, 1))
    bits = [
        *(_times(code_at(f"{at} + {place}"), 1 << 8 * place) for place in range(size - 2)),
        _times(f"mod({low}, {part})", 1 << 8 * (size - 2)),
    ]
    fraction = " + ".join(bits)
    exponent = f"(mod({high}, 128) * {256 // part} + {low} / {part})"
    two = "power(cast(2 as double), "
    return (
        f"case when {exponent} < {most} then case when {high} >= 128 then -1e0 else 1e0 end "
        f"* case when {exponent} = 0 then ({fraction}) * {two}{least}) "
        f"else ({fraction} + {part << 8 * (size - 2)}) * {two}{exponent} + {least - 1}) end end"
    )


def last_bytes(at: str, count: str) -> str:
    """Write the last eight bytes of a whole number, the highest first, filled up to eight if it has fewer.

    It is null if the number needs more: what stands before only says its sign.
    """
    whole = f"substring(body from {at} for {count})"
    filler = {byte: text_of(bytes([byte] * 8)) for byte in (0, 255)}
    sign = f"case when {code_at(at)} >= 128 then {filler[255]} else {filler[0]} end"
    padded = f"right(concat({sign}, {whole}), 8)"
    before = f"substring(body from {at} for {count} - 8)"
    last = code_at(f"{at} + {count} - 8")
    said = f"case when {last} >= 128 then {text_of(bytes([255]))} else {text_of(bytes(1))} end"
    return (
        f"case when {count} = 0 then {filler[0]} when {count} <= 8 then {padded} "
        f"when replace({before}, {said}, '') = '' then {padded} end"
    )


def whole(eight: str) -> str:
    """Write the number of the bytes that `last_bytes` gives."""
    highest = code_at("1", text=eight)
    parts = [_times(f"({highest} - case when {highest} >= 128 then 256 else 0 end)", 1 << 56)]
    parts += [
        _times(code_at(str(9 - place), text=eight), 1 << 8 * (place - 1)) for place in range(1, 8)
    ]
    return "(" + " + ".join(parts) + ")"


def _times(value: str, factor: int) -> str:
    return f"{value} * cast({factor} as bigint)"
