"""Odd records, at least 500 of each format: what producers, bugs and attackers write.

`judge` decodes them in a process of its own, so that a crash of a native library is a result too.
"""

import itertools
import random
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.definitions.stream import Stream
from headrace.errors import LakeError
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.sources.files import FileSource
from tests.ingest.factories import FIELDS, csv_line, json_line, records_of, thing
from tests.processes import CONTEXT

CPU_S_MAX = 60  # some odd records took minutes once; all of them together take about one second

NUMBERS = (
    *("0", "-0", "-0.0", "00", "01", "1.", ".5", "+1", "0x1", "1_000", "1,5", "NaN", "-nan", "inf"),
    *("Infinity", "-Infinity", "1e5", "1E+5", "1e-5", "1e400", "-1e400", "1e-400", "1e", "1e+"),
    *("1e99999999999999999999", "-1e-99999999999999999999", "1e9999", "1e-9999", "0e99999999999"),
    *("9007199254740992", "9007199254740993", "16777217", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 39, "9" * 309),
    *("9" * 5_000, "0" * 5_000 + "1", "0." + "3" * 5_000, "1e" + "9" * 5_000, "-" * 50, "--1"),
)
TEXTS = (
    *("", " ", "\t", "a,b", "a;b", 'a"b', "'", "\\", "\\n", "\\u0000", "\\ud800", "\\ud83d\\ude00"),
    *(
        "\\x",
        "\x00",
        "\x1b]0;x\x07",
        "\x7f",
        "\ufeff",
        "\u202e",
        "\u2028",
        "😀",
        "é",
        "NULL",
        "\\N",
    ),
    *("None", "true", "TRUE", "2019-11-24", "2019-11-24T10:00:00Z", "24:00", "a" * 70_000),
    *("\r", "a\rb", "\v", "\f", "\x85", "=1+1", "../..", "{}", "[]", "null", '"', '""', '"""'),
)
NESTED = tuple(
    itertools.chain.from_iterable(
        ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth)
        for depth in (1, 10, 255, 256, 257, 1_000, 20_000, 60_000)
    )
)
NOT_VALUES = ("", "nul", "nulll", "True", "undefined", "'a'", "[1,]", "{,}", '{"a"}', "//", "/**/")


def odd_json_lines() -> list[bytes]:
    """Every odd value in every declared field and in an undeclared one; and odd lines."""
    values = [*NUMBERS, *NESTED, *NOT_VALUES, *(f'"{text}"' for text in TEXTS), "[null]", "[[1]]"]
    fields = [*FIELDS, "tags", "other"]
    lines = [
        json_line(**{name: "@"}).replace(b'"@"', value.encode())
        for value in values
        for name in fields
        if len(value) < 1_000 or name in ("id", "n", "price", "other")
    ]
    good, many = json_line(), ",".join(f'"k{at}":{at}' for at in range(60_000)).encode()
    lines += [good[:-1] + b"," + many + b"}", good[:-1] + b',"k":[' + b"{}," * 3_000 + b"{}]}"]
    lines += [good[:-1] + b',"other":' + b'{"a":[' * 200 + b"]}" * 200 + b"}"]
    lines += [b"{}", b"{ }", b"[]", b'""', b"1", b"null", b"{" * 300, b"}" * 300, good + good]
    lines += [good + b" " + good, good + b",", b"\xef\xbb\xbf" + good, b"\x00", good + b"\x00"]
    lines += [b'{"":1}', b'{"id":1,"id":2}', b'{"\\u0069d":1,"id":2}', b"{\x00}", b"\xc3\x28"]
    return [line for line in lines if line.strip()] + mangled(good, 400)


def odd_csv_lines() -> list[bytes]:
    """Every odd value in every column, plain and quoted; and odd lines."""
    values = [*NUMBERS, *TEXTS, *(f'"{text}"' for text in (*NUMBERS, *TEXTS)), "[" * 60_000]
    lines = [
        csv_line(**{name: "@"}).replace(b"@", value.encode())
        for value in values
        for name in FIELDS
        if len(value) < 1_000 or name in ("id", "n", "price")
    ]
    good = csv_line()
    lines += [b",", b"," * 500_000, b'"', b'""', b'"' * 500_000, b"\x00", b"\xef\xbb\xbf" + good]
    lines += [b'"' + b"a" * 200_000 + b'"' + good[1:], b"a" * 200_000 + good[1:], b"'", b"\xc3\x28"]
    lines += [good + b",", good + b"\t", good + b"\x1a", b" " + good, good.replace(b",", b";")]
    return [line for line in lines if line.strip()] + mangled(good, 400)


def write_odd_parquet(path: Path) -> int:
    """Write every odd value as text in every column, beside odd columns nobody declared."""
    values = [text for text in (*NUMBERS, *TEXTS, *NOT_VALUES) if len(text) < 1_000]
    names = list(FIELDS)
    good = {name: None if value is None else str(value) for name, value in thing().items()}
    rows = [{key: good[key] for key in names} | {name: value} for value in values for name in names]
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))
    count = len(rows)
    odd = {
        "deep": pa.array([[[[{"a": [at]}]]] for at in range(count)]),
        "pairs": pa.array([[("a", at)] for at in range(count)], pa.map_(pa.string(), pa.int64())),
        "never": pa.nulls(count),
        "bytes": pa.array([bytes([at % 256]) * at for at in range(count)]),
        "far": pa.array([2**63 - 1 - at for at in range(count)], pa.timestamp("ns")),
        "wide": pa.array([10**70 + at for at in range(count)], pa.decimal256(76, 0)),
        "half": pa.array([float(at) for at in range(count)], pa.float16()),
        "id ": pa.array(["a"] * count).dictionary_encode(),
        "": pa.array([b"\x00" * 3] * count, pa.binary(3)),
    }
    for name, column in odd.items():
        table = table.append_column(name, column)
    pq.write_table(table, path, row_group_size=97)
    return count


def read_files(stream: Stream, data_dir: Path) -> tuple[int, int]:
    """Read and judge every file of a stream: how many rows, and how many refused."""
    rows = refused = 0
    source = FileSource(stream, data_dir=data_dir)
    for split in source.look(lambda _: {}).splits:
        for records in source.read(split, rows_per_commit=10**9):
            checked = check(decode(records, stream), stream)
            checked.rows.validate(full=True)
            rows, refused = rows + len(checked.index), refused + len(checked.violations)
    return rows, refused


def judge_files(stream: Stream, data_dir: Path, rows: int, refused: int, mib_max: int) -> None:
    """End with an error unless so many are rows and so many refused, and Arrow took so much memory."""
    found = read_files(stream, data_dir)
    mib = (pa.default_memory_pool().max_memory() or 0) // 1024**2
    if found != (rows, refused) or mib > mib_max:
        sys.exit(f"{found} instead of {(rows, refused)}, {mib} MiB of {mib_max}")


def judge_damaged(stream: Stream, data_dir: Path, count: int, seed: int) -> None:
    """Damage one Parquet file in many ways; reading it must end, and in nothing but a named error."""
    chance = random.Random(seed)
    (path,) = data_dir.glob("things/*.parquet")
    sound = path.read_bytes()
    named = 0
    for _ in range(count):
        content = bytearray(sound)
        for _ in range(chance.choice((1, 1, 2, 8))):
            # half of it in the footer, which says how much to allocate and where to read
            first = chance.choice((4, len(sound) * 2 // 3))
            content[chance.randrange(first, len(sound))] = chance.randrange(256)
        path.write_bytes(content if chance.random() > 0.1 else content[: len(content) // 2])
        try:
            read_files(stream, data_dir)
        except LakeError:
            named += 1
    if named < count // 4:
        sys.exit(f"only {named} of {count} were seen")


_SLIPS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"NaN", b"1", b"-", b"e9", b".", b"\\"),
    *(b" ", b"\\ud800", b"\xff", b"true", b"9" * 20, b"\r", b"\x00", b"\xef\xbb\xbf", b"\xe2\x82"),
)


def mangled(good: bytes, count: int, *, seed: int = 7) -> list[bytes]:
    """Good lines with slips at places drawn from `seed`."""
    chance = random.Random(seed)
    lines: list[bytes] = []
    for _ in range(count):
        line = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            at = chance.randrange(len(line) + 1)
            line[at : at + chance.choice((0, 0, 1, 3, 40))] = chance.choice(_SLIPS)
        lines.append(bytes(line))
    return [line for line in lines if line.strip()]


def judge(
    stream: Stream,
    lines: Sequence[bytes],
    *,
    good: bytes,
    header: tuple[str, ...] = (),
    alone_every: int,
) -> int | None:
    """Judge lines in a process of its own: 0 if each, and each good neighbour, is accounted for."""
    return in_own_process(_judge, stream, lines, good, header, alone_every)


def in_own_process(target: Callable[..., None], *arguments: object) -> int | None:
    """Run `target` with a limit of CPU time; give the exit status, negative for a signal."""
    process = CONTEXT.Process(target=_limited, args=(target, arguments))
    process.start()
    process.join()
    return process.exitcode


def _limited(target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    target(*arguments)


def _judge(
    stream: Stream, lines: list[bytes], good: bytes, header: tuple[str, ...], alone_every: int
) -> None:
    """Judge all at once, and some between two good ones: with the same result, which loses nothing."""
    kept, refused = _outcome(stream, lines, header)
    if sorted([*kept, *refused]) != list(range(len(lines))):
        sys.exit("lost or doubled")
    for at in range(0, len(lines), alone_every):
        line = lines[at]
        rows, dead = _outcome(stream, [good, line, good], header)
        if rows != ([0, 1, 2] if at in kept else [0, 2]):
            sys.exit(f"{line[:200]!r}: beside others {refused.get(at)}, alone {dead}")


def _outcome(
    stream: Stream, lines: list[bytes], header: tuple[str, ...]
) -> tuple[list[int], dict[int, str]]:
    records = records_of(lines, header=header)
    checked = check(decode(records, stream), stream)
    checked.rows.validate(full=True)
    refused = {at: violation.code for at, violation in checked.violations.items()}
    return checked.index.tolist(), refused
