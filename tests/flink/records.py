"""Records of every kind that a contract tells apart, for a writer to be compared with headrace."""

_PLAIN = '"id": "x", "at": "2026-01-01T00:00:00Z"'
GOOD = (
    b'{"id": "a", "at": "2026-01-01T00:00:00Z"}',
    (
        b'{"id": "b\\u00e9\\"x", "at": "2026-01-01 10:00:00.1234567+05:30", "small": -3, "large": 5, '
        b'"single": 1.5, "double": 0.1, "flag": true, "day": "2026-02-28", "price": 1.50, '
        b'"seen_ms": 1764547200123, "seenAt": "1764547200123456", "items": [1, null, 3], '
        b'"tags": ["a\\"b", null, "c,[d]"], "flags": [true, null], "other": {"deep": [1]}}'
    ),
    f'{{{_PLAIN}, "seen_ms": -1, "seenAt": -1, "tags": [], "items": [], "price": "12.5"}}'.encode(),
    f'{{{_PLAIN}, "single": 16777216, "double": 1000000000000000000, "day": null}}'.encode(),
    f' \t{{{_PLAIN}, "large": -9223372036854775808, "double": 1e-7}} '.encode(),
    b'{"id": "", "at": "0001-01-01T00:00Z", "price": -0.01}',
    # no escape of half a pair, but a backslash before a word
    b'{"id": "\\\\ud83d", "at": "2026-01-01T00:00:00Z", "price": "1.23450e2"}',
)
# beside half of two floats or doubles, and at the ends of what they hold
NEAR = (
    "1.00000005960464477539062499",
    "1.00000005960464477539062501",
    "1.00000017881393432617187499",
    "1.000000178813934326171875",
    "-1.00000017881393432617187501",
    "16777217.0000001",
    "3.4028235677973366e38",
    "7.0e-46",
    "7.1e-46",
    "1e-46",
    "4.9e-324",
    "2e-324",
    "2.2250738585072011e-308",
    "9007199254740993.0000000001",
)
NEGATIVE_ZEROS = ("-0", "-0.0", "-0e0", "-0.0e-5")
FLOATS = tuple(
    f'{{{_PLAIN}, "single": {each}, "double": {each}}}'.encode()
    for each in (*NEAR, *NEGATIVE_ZEROS)
)
_BAD_VALUES = (
    '"small": 2147483648',
    '"large": 9223372036854775808',
    '"large": 1.5',
    '"large": "5"',
    '"large": {"a": 1}',
    '"large": [1]',
    '"single": 16777217',
    '"single": 9223372036854775807',
    '"single": "1.5"',
    '"double": 1e400',
    '"double": true',
    '"flag": "true"',
    '"flag": 1',
    '"day": "2026-02-30"',
    '"day": "2026-02-28\\n"',
    '"day": 5',
    '"price": 1.005',
    '"price": 123456789.12',
    '"price": "x"',
    '"seen_ms": "soon"',
    '"seen_ms": 9223372036854775807',
    '"items": ["1"]',
    '"items": [1.5]',
    '"items": 1',
    '"items": [9223372036854775808]',
    '"tags": [1]',
    '"tags": "a"',
    '"flags": [1]',
)
BAD = (
    b"",
    b"null",
    b"5",
    b"\xff\xfe",
    b'{"id": "x"',
    b'[{"id": "x", "at": "2026-01-01T00:00:00Z"}]',
    f"{{{_PLAIN}}} x".encode(),
    f'{{{_PLAIN}}}, "b": 2'.encode(),
    f"{{{_PLAIN}}}{{{_PLAIN}}}".encode(),
    b'{"id": 5, "at": "2026-01-01T00:00:00Z"}',
    b'{"at": "2026-01-01T00:00:00Z"}',
    b'{"id": "x", "at": null}',
    b'{"id": "x", "at": "2026-01-01T00:00:00"}',
    b'{"id": "x", "at": "2026-02-30T00:00:00Z"}',
    b'{"id": "x", "at": "2026-01-01T24:00:00Z"}',
    b'{"id": "x", "at": "2026-01-01T23:59:60Z"}',
    b'{"id": "x", "at": "2026-01-01T00:00:00Z\\n"}',
    b'{"id": "x", "at": "2226-01-01T00:00:00Z"}',
    b'{"id": "x", "at": "2026-01-01T00:00:00+99:99"}',
    b'{"id": "x", "at": "2026-01-01T00:00:00-24:00"}',
    b'{"id": "x", "at": "2026-01-01T00:00:00+05:60"}',
    b'{"id": "x", "at": "0001-01-01T00:00:00+05:00"}',
    b'{"id": "x", "at": "9999-12-31T23:59:00-05:00"}',
    *(f"{{{_PLAIN}, {each}}}".encode() for each in _BAD_VALUES),
)
