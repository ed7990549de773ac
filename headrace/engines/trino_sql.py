"""Makes bound relations readable in a statement: Trino has no temporary views, so each is a `with` step.

Rooms write SQL over bound names (`events`, `raw.events`). A step of a `with` list has a name of one
part: `raw.events` becomes `"raw.events"` wherever the statement names it. What the step reads is
seen by this statement alone, and nothing is created for it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.identifiers import quote

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<skipped>--[^\n]*|/\*.*?\*/|\s+)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """One token; `name` is the identifier it is, as Trino compares them, else empty."""

    text: str
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class OrderTerm:
    """One column of a top-level `order by`; `qualified` if a relation stands before it."""

    column: str
    qualified: bool
    descending: bool
    nulls_first: bool


def over_relations(sql: str, relations: Mapping[str, str]) -> str:
    """Render a statement over bound relations, given by name as `select` statements.

    Only the relations that the statement names become steps, before its own.
    """
    parts: list[str] = []
    used: dict[str, None] = {}
    tokens = _tokens(sql.rstrip().rstrip(";"))
    at, after_dot = 0, False
    while at < len(tokens):
        token = tokens[at]
        taken = 1
        if token.name and not after_dot:
            end, full = _full_name(tokens, at)
            if full in relations:
                taken, token = end - at, Token(quote(full), full, "quoted")
                used[full] = None
            elif token.name in relations:
                used[token.name] = None
        parts.append(token.text)
        if token.kind != "skipped":
            after_dot = token.text == "."
        at += taken
    steps = ", ".join(f"{quote(name)} as ({relations[name]})" for name in used)
    return _with_steps("".join(parts), steps)


def without_database(sql: str, database: str) -> str:
    """Take the name of a database away from before names of tables."""
    parts: list[str] = []
    tokens = _tokens(sql)
    at = 0
    while at < len(tokens):
        end, full = _full_name(tokens, at)
        if tokens[at].name == database and full and not _follows_dot(tokens, at):
            at = end - 1  # of `database.namespace`, the namespace stays
        parts.append(tokens[at].text)
        at += 1
    return "".join(parts)


def names_in(sql: str) -> frozenset[str]:
    """Return everything in a statement that may be the name of a table of a namespace."""
    tokens = _tokens(sql)
    found = (
        _full_name(tokens, at)[1]
        for at, token in enumerate(tokens)
        if token.name and not _follows_dot(tokens, at)
    )
    return frozenset(name for name in found if name)


def top_order(sql: str) -> Sequence[OrderTerm] | None:
    """Read the `order by` of the whole statement, as Trino reads it.

    Returns:
        () if there is none; None if it is more than a list of columns, or rows are limited too.

    """
    tokens = [each for each in _tokens(sql.rstrip().rstrip(";")) if each.kind != "skipped"]
    depths = list(_depths(tokens))
    outer = [token for token, depth in zip(tokens, depths, strict=True) if depth == 0]
    words = [token.text.lower() if token.kind == "word" else "" for token in outer]
    if any(word in {"limit", "offset", "fetch"} for word in words):
        return None
    found = [at for at, word in enumerate(words[:-1]) if word == "order" and words[at + 1] == "by"]
    if not found:
        return ()
    start = len(tokens) - 1 - _from_end(depths, len(outer) - found[-1])
    terms = [_term(part) for part in _split(tokens[start + 2 :])]
    known = [each for each in terms if each is not None]
    return known if len(known) == len(terms) else None


def _from_end(depths: Sequence[int], outer: int) -> int:
    """Count the tokens that follow the `outer`th token from the end of those outside parentheses."""
    seen = 0
    for number, depth in enumerate(reversed(depths)):
        seen += depth == 0
        if seen == outer:
            return number
    raise AssertionError  # it was counted before


def _term(tokens: Sequence[Token]) -> OrderTerm | None:
    words = [token.text.lower() if token.kind == "word" else token.text for token in tokens]
    nulls_first = False  # Trino's default, in both directions
    if words[-2:] in (["nulls", "first"], ["nulls", "last"]):
        nulls_first = words[-1] == "first"
        tokens, words = tokens[:-2], words[:-2]
    descending = words[-1:] == ["desc"]
    if words[-1:] in (["asc"], ["desc"]):
        tokens = tokens[:-1]
    qualified = len(tokens) == 3 and tokens[1].text == "." and bool(tokens[0].name)
    if not (qualified or len(tokens) == 1) or not tokens[-1].name:
        return None
    return OrderTerm(
        column=tokens[-1].name,
        qualified=qualified,
        descending=descending,
        nulls_first=nulls_first,
    )


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token, depth in zip(tokens, _depths(tokens), strict=True):
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _depths(tokens: Sequence[Token]) -> Iterator[int]:
    """Yield how many parentheses are open around each token; they count as inside of themselves."""
    depth = 0
    for token in tokens:
        depth += token.text == "(" and token.kind == "sign"
        yield depth
        depth -= token.text == ")" and token.kind == "sign"


def _tokens(sql: str) -> list[Token]:
    found: list[Token] = []
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup or "", match.group()
        name = ""
        if kind == "quoted":
            name = text[1:-1].replace('""', '"').lower()
        elif kind == "word":
            name = text.lower()
        found.append(Token(text, name, kind))
    return found


def _follows_dot(tokens: Sequence[Token], at: int) -> bool:
    before = (tokens[n] for n in range(at - 1, -1, -1))
    return next((token.text == "." for token in before if token.kind != "skipped"), False)


def _full_name(tokens: Sequence[Token], at: int) -> tuple[int, str]:
    """Read `namespace.name` at a token; return where it ends and the name, or an empty one."""
    rest = [n for n in range(at + 1, len(tokens)) if tokens[n].kind != "skipped"][:2]
    if len(rest) == 2 and tokens[rest[0]].text == "." and tokens[rest[1]].name:
        return rest[1] + 1, f"{tokens[at].name}.{tokens[rest[1]].name}"
    return at + 1, ""


def _with_steps(sql: str, steps: str) -> str:
    if not steps:
        return sql
    tokens = _tokens(sql)
    first = next((n for n, token in enumerate(tokens) if token.kind != "skipped"), 0)
    if not tokens or tokens[first].text.lower() != "with":
        return f"with {steps}\n{sql}"
    rest = tokens[first + 1 :]
    head = "with"
    word = next((n for n, token in enumerate(rest) if token.kind != "skipped"), 0)
    if rest and rest[word].text.lower() == "recursive":
        head, rest = "with recursive", rest[word + 1 :]
    return f"{head} {steps},{''.join(token.text for token in rest)}"
