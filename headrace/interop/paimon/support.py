"""What may be read of a Paimon table: an allow-list for each version of the client. Pure.

An entry is here because `tests/interop/test_against_flink.py` reads a table with it as Flink does.
Everything else is refused by name: an option that a reader ignores gives wrong rows, not an error.
"""

import re
from dataclasses import dataclass

from headrace.errors import PaimonReason, PaimonUnsupportedError, Remedy
from headrace.interop.paimon.facts import Changes, PaimonDefinition

CHANGELOG_ADVICE = Remedy(
    advice="create the table with `'changelog-producer' = 'lookup'`, or import its state with "
    "`--as state`"
)


@dataclass(frozen=True, kw_only=True)
class Support:
    """What one version of the client reads as Flink does."""

    merge_engines: frozenset[str]
    changelog_producers: frozenset[str]
    file_formats: frozenset[str]
    aggregates: frozenset[str]
    types: re.Pattern[str]
    options: re.Pattern[str]


# what only writers, maintenance or catalogs obey: no value of these changes what a reader returns
_WRITERS = (
    r"path|owner|comment|bucket-key|rowkind\.field|auto-create|headrace\..+|"
    r"(write|compaction|num-sorted-run|num-levels|sort|sink|snapshot|tag|consumer|changelog|metadata|"
    r"manifest|lookup|full-compaction|target-file-size|commit|partition\.expiration|"
    r"partition\.timestamp|changelog-producer|local-merge|page-size|cache|read\.batch|orc|parquet)"
    r"[-.].+|"
    r"target-file-size|file\.compression|file\.compression\..+|file\.block-size|num-levels|page-size"
)
_CHECKED = (
    r"bucket|merge-engine|changelog-producer|sequence\.field|file\.format|"
    r"deletion-vectors\.enabled|fields\..+\.aggregate-function|fields\..+\.sequence-group"
)

ALLOWED = {
    "2.1.0": Support(
        merge_engines=frozenset({"deduplicate", "first-row", "partial-update", "aggregation"}),
        changelog_producers=frozenset({"none", "lookup", "full-compaction"}),
        file_formats=frozenset({"parquet", "orc"}),
        aggregates=frozenset({"sum", "max", "min", "last_non_null_value"}),
        types=re.compile(
            r"BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DECIMAL\(\d+, ?\d+\)|STRING|DATE|"
            r"CHAR\(\d+\)|VARCHAR\(\d+\)|BYTES|TIMESTAMP\([0-6]\)|"
            r"TIMESTAMP(_LTZ)?\([0-6]\)( WITH LOCAL TIME ZONE)?"
        ),
        options=re.compile(f"{_WRITERS}|{_CHECKED}"),
    )
}
_UNORDERED = frozenset({"deduplicate"})


def refuse_unknown(table: PaimonDefinition, *, version: str) -> None:
    """Refuse what the client of this version is not known to read as Flink does.

    Raises:
        PaimonUnsupportedError: With the reason, and the option or column, of the first such thing.

    """
    support = ALLOWED.get(version)
    if support is None:
        known = ", ".join(f"`{each}`" for each in ALLOWED)
        raise PaimonUnsupportedError(
            table.name,
            f"pypaimon {version} is installed, and only of {known} it is known what they read right",
            reason=PaimonReason.CLIENT_VERSION,
            remedy=Remedy(advice=f"install pypaimon {', '.join(ALLOWED)}"),
        )
    _refuse_options(table, support)
    _refuse_columns(table, support)


def _refuse_options(table: PaimonDefinition, support: Support) -> None:
    checks = (
        ("merge-engine", "deduplicate", support.merge_engines, PaimonReason.MERGE_ENGINE),
        ("changelog-producer", "none", support.changelog_producers, PaimonReason.NO_CHANGELOG),
        ("file.format", "parquet", support.file_formats, PaimonReason.FILE_FORMAT),
        ("deletion-vectors.enabled", "false", frozenset({"false"}), PaimonReason.UNMERGED_FILES),
    )
    for name, default, allowed, reason in checks:
        value = table.option(name, default)
        if value not in allowed:
            listed = ", ".join(f"`{each}`" for each in sorted(allowed))
            detail = f"`{name}` is `{value}`, and {listed} can be read"
            raise PaimonUnsupportedError(table.name, detail, reason=reason, option=name)
    _refuse_altered(table, "deletion-vectors.enabled", PaimonReason.UNMERGED_FILES)
    if int(table.option("bucket", "-1")) < -1 or _crosses_partitions(table):
        detail = "its rows have no fixed bucket: a key may be in several partitions, or is not in any yet"
        raise PaimonUnsupportedError(
            table.name, detail, reason=PaimonReason.BUCKETS, option="bucket"
        )
    for name, value in table.options.items():
        if support.options.fullmatch(name) is None:
            detail = f"it is not known what `{name}` = `{value}` changes for readers"
            raise PaimonUnsupportedError(
                table.name, detail, reason=PaimonReason.OPTION, option=name
            )
        if name.endswith(".aggregate-function") and value.lower() not in support.aggregates:
            listed = ", ".join(f"`{each}`" for each in sorted(support.aggregates))
            detail = f"`{name}` is `{value}`, and {listed} can be read"
            reason = PaimonReason.MERGE_ENGINE
            raise PaimonUnsupportedError(table.name, detail, reason=reason, option=name)


def _refuse_altered(table: PaimonDefinition, option: str, reason: PaimonReason) -> None:
    if option in table.altered:
        raise PaimonUnsupportedError(
            table.name,
            f"`{option}` was changed after rows were written, and their files do not follow it",
            reason=reason,
            option=option,
            remedy=Remedy(advice="create a table with that option, and write the rows into it"),
        )


def _crosses_partitions(table: PaimonDefinition) -> bool:
    return bool(table.keys) and not set(table.partition_keys) <= set(table.keys)


def _refuse_columns(table: PaimonDefinition, support: Support) -> None:
    for name, type_text in table.types.items():
        if support.types.fullmatch(_element(type_text)) is None:
            detail = f"column `{name}` is {type_text}"
            reason = PaimonReason.COLUMN_TYPE
            raise PaimonUnsupportedError(table.name, detail, reason=reason, column=name)


def _element(type_text: str) -> str:
    """Return the type of one value: of the elements, if the column is a list."""
    inner = re.fullmatch(r"ARRAY<(.+)>( NOT NULL)?", type_text)
    return (inner[1] if inner else type_text).removesuffix(" NOT NULL")


def changes_of(table: PaimonDefinition) -> Changes:
    """Return where the changes of a table are.

    Raises:
        PaimonUnsupportedError: If its files do not say what changed: rows arrive that its merge
            engine may drop or combine, and only a changelog says what became of them. Or if only some
            of its files have one, by an option that was changed.

    """
    if not table.keys:
        return Changes.APPENDS
    _refuse_altered(table, "changelog-producer", PaimonReason.NO_CHANGELOG)
    if table.option("changelog-producer", "none") != "none":
        return Changes.CHANGELOG
    engine = table.option("merge-engine", "deduplicate")
    if engine in _UNORDERED and "sequence.field" not in table.options:
        return Changes.UPSERTS
    detail = f"it has no changelog, and `{engine}` decides later which of its rows count"
    if engine in _UNORDERED:
        detail = "it has no changelog, and `sequence.field` decides later which of its rows count"
    raise PaimonUnsupportedError(
        table.name,
        detail,
        reason=PaimonReason.NO_CHANGELOG,
        option="changelog-producer",
        remedy=CHANGELOG_ADVICE,
    )


def refuse_state(table: PaimonDefinition) -> None:
    """Refuse the state of a table whose rows Flink merges and the client does not; changes are merged ones.

    Raises:
        PaimonUnsupportedError: If it has sequence groups.

    """
    option = next((name for name in table.options if name.endswith(".sequence-group")), None)
    if option is not None:
        raise PaimonUnsupportedError(
            table.name,
            f"pypaimon does not merge rows by `{option}`; its changes can be taken, from the first on",
            reason=PaimonReason.MERGE_ENGINE,
            option=option,
            remedy=Remedy(advice="import it `--as changes` or `--as features`"),
        )


def refuse_unmerged(table: PaimonDefinition, *, unmerged: int) -> None:
    """Refuse the state of a table where Flink hides rows until a compaction and the client may not.

    Raises:
        PaimonUnsupportedError: If it has such rows.

    """
    if table.option("merge-engine", "deduplicate") == "first-row" and unmerged:
        raise PaimonUnsupportedError(
            table.name,
            f"{unmerged} of its files hold rows that are invisible until a compaction",
            reason=PaimonReason.UNMERGED_FILES,
            remedy=Remedy(advice="compact it with Flink, then run it again"),
        )
