"""Tables of Paimon in the maintenance queue: a job of Flink compacts those that no writer compacts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from headrace.config import Settings
from headrace.errors import LakeError, Remedy
from headrace.flink.client import Gateway
from headrace.flink.keyed_sql import CATALOG
from headrace.flink.places import access_of, paimon_options
from headrace.flink.statements import option_list
from headrace.identifiers import quote_text
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.summary import UNMERGED_MAX, PaimonSummary, summaries
from headrace.interop.paimon.token import Token
from headrace.maintenance.health.costs import OPEN_FILE_S
from headrace.maintenance.health.wording import counted, time_text
from headrace.maintenance.queue.actions import Action, Executor, Kind, OtherTable, Waiting

# the statement ends when its job does
_BATCH = {"execution.runtime-mode": "batch", "table.dml-sync": "true"}


def paimon_actions(
    tables: Iterable[PaimonSummary], tokens: Mapping[str, Token], *, has_flink: bool
) -> Iterator[Action | Waiting]:
    """List the compactions that would help, due or not. Pure.

    Where an import lacks snapshots it waits: the commit of a compaction expires old ones, by the table's
    options.

    Args:
        tables: As they are.
        tokens: What tables of the lake took of them, by their names.
        has_flink: Whether a Flink can do it.

    """
    for each in tables:
        if not each.is_unmerged:
            continue
        name, files = OtherTable(name=f"paimon:{each.table}"), each.files
        behind = next(
            (
                target
                for target, token in sorted(tokens.items())
                if token.table == each.table and token.snapshot_id < (each.snapshot_id or 0)
            ),
            None,
        )
        if behind is None and has_flink:
            gain_s = files.unmerged * OPEN_FILE_S
            yield Action(
                kind=Kind.PAIMON,
                table=name,
                reason=f"each read merges up to {counted(files.unmerged_per_bucket_max, 'file')} of one "
                f"bucket, more than {UNMERGED_MAX}",
                gain=f"reads save {time_text(gain_s)}",
                gain_s=gain_s,
                steps=(files.bytes,),
                executor=Executor.FLINK,
            )
            continue
        remedy = Remedy(advice="name Flink by `flink_uri` and `flink_gateway_uri` in the profile")
        if behind is not None:
            remedy = Remedy.run("paimon", "import", each.table, "--to", behind)
        yield Waiting(
            kind=Kind.PAIMON,
            table=name,
            reason="no Flink is named that could do it"
            if behind is None
            else f"`{behind}` lacks snapshots, which the commit may expire",
            cost_bytes=files.bytes,
            remedy=remedy,
        )


@dataclass(frozen=True, kw_only=True)
class PaimonUpkeep:
    """The tables of the settings' warehouse; `tokens` as for `paimon_actions`."""

    settings: Settings
    tokens: Mapping[str, Token]

    def proposed(self) -> tuple[Action | Waiting, ...]:
        """List the compactions that would help; none without a warehouse, or if it cannot be read."""
        if not self.settings.paimon_warehouse:
            return ()
        try:
            found = summaries(PaimonWarehouse.open(self.settings))
        except LakeError:  # `headrace status` names it
            return ()
        has_flink = self.settings.flink is not None
        return tuple(paimon_actions(found, self.tokens, has_flink=has_flink))

    def perform(self, action: Action) -> str:
        """Compact a table by a job of Flink, and wait for it; empty if it was compacted meanwhile.

        Raises:
            FlinkUnavailableError: If Flink does not answer; whether the table is compacted is not known.
            FlinkRefusedError: If the job failed, as beside a writer that compacted the same files.
            PaimonTableNotFoundError, PaimonWarehouseError: If it is there no more.

        """
        name = str(action.table).partition(":")[2]
        before = self._unmerged(name)
        if before <= UNMERGED_MAX:
            return ""
        Gateway(access_of(self.settings)).run(
            (
                f"create catalog {CATALOG} with ({option_list(paimon_options(self.settings))})",
                f"use catalog {CATALOG}",
                f"call sys.compact(`table` => {quote_text(name)})",
            ),
            properties=_BATCH,
        )
        return f"{counted(before, 'unmerged file')} of one bucket → {self._unmerged(name):,}"

    def _unmerged(self, name: str) -> int:
        table = PaimonWarehouse.open(self.settings).table(name)
        newest = table.snapshots()[-1:]
        return table.statistics(newest[0].id).unmerged_per_bucket_max if newest else 0
