"""Which sources a stream has taken, and how far, except for the few that its table names itself.

Sources are sealed in groups. A seal names the one before it, and a table names its newest seal: the
line of seals from there, the newest first, says what the table has taken. Seals are never changed.
A seal whose commit did not land, or was rolled back, is on no table's line and has no meaning.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from headrace import clock
from headrace.errors import SourceLedgerError
from headrace.registry.schema import SOURCE_FILES, SOURCE_SEALS

_IN_MAX = 500  # values in one `in (…)`
_ID_BITS = 52  # whole numbers that every JSON reader keeps exact


class SealedSource(NamedTuple):
    """How far one source was taken when it was sealed.

    `changed_ns` and `inode` show, without reading a file, that it has not changed; 0 if unknown.
    """

    source: str
    records: int
    bytes: int = 0
    fingerprint: str = ""
    changed_ns: int = 0
    inode: int = 0


class SourceLedger:
    """Reads and writes seals; every method is one short transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def seal(
        self, table: str, stream: str, sources: Sequence[SealedSource], *, after: int | None
    ) -> int:
        """Seal sources behind the seal `after` (None: the first), durably; return the new seal."""
        seal = secrets.randbits(_ID_BITS)  # the key refuses one that is taken
        head = {
            "seal": seal,
            "after_seal": after,
            "table_name": table,
            "stream": stream,
            "sealed_at_ms": clock.now_ms(),
        }
        rows = [{"seal": seal, **each._asdict()} for each in sources]
        with self._engine.begin() as connection:
            connection.execute(sa.insert(SOURCE_SEALS), head)
            if rows:
                connection.execute(sa.insert(SOURCE_FILES), rows)
        return seal

    def find(self, seal: int, sources: Collection[str]) -> dict[str, SealedSource]:
        """Look up sources on the line of a seal; those never sealed are left out.

        Raises:
            SourceLedgerError: If a part of the line is missing.

        """
        wanted = list(sources)
        found: dict[str, tuple[int, SealedSource]] = {}
        with self._engine.connect() as connection:
            ages = _line(connection, seal)
            for start in range(0, len(wanted), _IN_MAX):
                names = {"names": wanted[start : start + _IN_MAX]}
                for at, *values in connection.execute(_NAMED, names).all():
                    age, source = ages.get(at), values[0]
                    if age is not None and (source not in found or age < found[source][0]):
                        found[source] = age, SealedSource(*values)
        return {name: each for name, (_, each) in found.items()}

    def with_content(self, seal: int, fingerprints: Collection[str]) -> list[SealedSource]:
        """Return what was sealed on the line of a seal with one of these fingerprints.

        Raises:
            SourceLedgerError: If a part of the line is missing.

        """
        wanted = list(fingerprints)
        found: list[SealedSource] = []
        with self._engine.connect() as connection:
            ages = _line(connection, seal)
            for start in range(0, len(wanted), _IN_MAX):
                rows = connection.execute(_ALIKE, {"wanted": wanted[start : start + _IN_MAX]})
                found += (SealedSource(*values) for at, *values in rows if at in ages)
        return found

    def sealed_since(self, seal: int, *, older: int | None) -> set[str]:
        """Name what was sealed on the line of a seal and not on that of an older one.

        Raises:
            SourceLedgerError: If a part of a line is missing.

        """
        with self._engine.connect() as connection:
            new = _line(connection, seal).keys()
            if older is not None:
                new = new - _line(connection, older).keys()
            return {
                name
                for each in new
                for name in connection.execute(_SOURCES, {"seal": each}).scalars()
            }

    def count(self, seal: int) -> int:
        """Count the sources on the line of a seal.

        Raises:
            SourceLedgerError: If a part of the line is missing.

        """
        with self._engine.connect() as connection:
            _line(connection, seal)
            return connection.execute(_COUNT, {"newest": seal}).scalar_one()

    def note_seen(self, seen: Collection[SealedSource]) -> None:
        """Record when sources that were read again, and found unchanged, had last changed.

        That is a hint and not part of a seal: it is true of these bytes whatever a table names.
        """
        if seen:
            with self._engine.begin() as connection:
                connection.execute(_NOTE_SEEN, [each._asdict() for each in sorted(seen)])


def _line(connection: sa.Connection, seal: int) -> dict[int, int]:
    """Follow a seal back to the first; return how many seals came after each."""
    rows = connection.execute(_LINE, {"newest": seal}).all()
    if not rows or rows[-1].after_seal is not None:  # the first one has none before it
        raise SourceLedgerError(seal)
    return {row.seal: age for age, row in enumerate(rows)}


_LINE_SQL = """
with recursive line(seal, after_seal, age) as (
    select seal, after_seal, 0 from source_seals where seal = :newest
    union all
    select older.seal, older.after_seal, line.age + 1
    from line join source_seals as older on older.seal = line.after_seal
)
"""
_LINE = sa.text(f"{_LINE_SQL} select seal, after_seal from line order by age")
_COUNT = sa.text(f"""
{_LINE_SQL} select count(distinct source) from source_files where seal in (select seal from line)
""")
_SOURCES = sa.select(SOURCE_FILES.c.source).where(SOURCE_FILES.c.seal == sa.bindparam("seal"))
_ROWS = sa.select(SOURCE_FILES.c.seal, *(SOURCE_FILES.c[name] for name in SealedSource._fields))
_NAMED = _ROWS.where(SOURCE_FILES.c.source.in_(sa.bindparam("names", expanding=True)))
_ALIKE = _ROWS.where(SOURCE_FILES.c.fingerprint.in_(sa.bindparam("wanted", expanding=True)))
_NOTE_SEEN = sa.text("""
update source_files set changed_ns = :changed_ns, inode = :inode
where source = :source and fingerprint = :fingerprint and bytes = :bytes
""")
