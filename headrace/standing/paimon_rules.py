"""What needs a person about Paimon tables and the tables that take them: pure rules."""

from collections.abc import Iterator

from headrace.errors import FindingCode, Remedy
from headrace.maintenance.health.wording import counted
from headrace.standing.facts import PaimonImport, Standing
from headrace.standing.finding import Finding
from headrace.standing.wording import listed


def paimon_findings(standing: Standing) -> Iterator[Finding]:
    """Yield what is lost, then what is behind, then what costs more than it should."""
    for each in standing.imports:
        if each.is_lost:
            yield _lost(each)
    for each in standing.imports:
        if each.lacks and not each.is_lost:
            yield _behind(each)
    unmerged = [each for each in standing.paimon if each.is_unmerged]
    if unmerged:
        most = max(each.files.unmerged_per_bucket_max for each in unmerged)
        yield Finding(
            kind="slow",
            code=FindingCode.PAIMON_UNMERGED,
            subject=listed([f"paimon:{each.table}" for each in unmerged]),
            text=f"up to {counted(most, 'file')} of one bucket are merged by each read",
            remedies=(Remedy(advice="let Flink compact it: `CALL sys.compact('DATABASE.TABLE')`"),),
            concerns=tuple(f"paimon:{each.table}" for each in unmerged),
        )


def _lost(found: PaimonImport) -> Finding:
    return Finding(
        kind="wrong",
        code=FindingCode.PAIMON_EXPIRED,
        subject=found.target,
        text=f"snapshots of paimon:{found.table} after {found.snapshot_id} expired before they were "
        "taken; it cannot go on",
        remedies=(
            Remedy.run(
                "paimon",
                "import",
                found.table,
                "--to",
                f"{found.target}_2",
                "--as",
                found.taken_as,
                "--hold",
                advice="import into another table, and keep what is not taken",
            ),
        ),
        table=found.target,
        concerns=(found.target,),
        breaks=True,
    )


def _behind(found: PaimonImport) -> Finding:
    shape = () if found.taken_as == "changes" else ("--as", found.taken_as)
    return Finding(
        kind="behind",
        code=FindingCode.PAIMON_BEHIND,
        subject=found.target,
        text=f"lacks {counted(found.lacks, 'snapshot')} of paimon:{found.table}",
        remedies=(Remedy.run("paimon", "import", found.table, "--to", found.target, *shape),),
        table=found.target,
        concerns=(found.target,),
    )
