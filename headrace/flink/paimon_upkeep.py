"""Tables of Paimon in the maintenance queue: what of them is compacted, and expires, by Flink."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from headrace import clock
from headrace.crash_points import crash_point
from headrace.errors import LakeError, PaimonTableNotFoundError, Remedy
from headrace.flink.client import Gateway
from headrace.flink.keyed_sql import CATALOG, NO_EXPIRY
from headrace.flink.paimon_ties import Ties, ties_of
from headrace.flink.places import access_of, paimon_options
from headrace.flink.statements import option_list
from headrace.identifiers import quote_text
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.expiry import GUARD, PaimonExpiry, plan_expiry
from headrace.interop.paimon.summary import (
    UNMERGED_MAX,
    PaimonSummary,
    look_at_each,
    summaries,
)
from headrace.interop.paimon.token import Token, consumer_of
from headrace.maintenance.health.costs import OPEN_FILE_S, SNAPSHOT_S
from headrace.maintenance.health.wording import counted, time_text
from headrace.maintenance.queue.actions import Action, Executor, Kind, OtherTable, Waiting
from headrace.tables.lake import OpenLake

# the statement ends when its job does
_BATCH = {"execution.runtime-mode": "batch", "table.dml-sync": "true"}
_NO_FLINK = Remedy(advice="name Flink by `flink_uri` and `flink_gateway_uri` in the profile")


def paimon_actions(
    tables: Iterable[PaimonSummary], ties: Ties, *, has_flink: bool, keep: int, now_ms: int
) -> Iterator[Action | Waiting]:
    """List what would help, due or not. Pure.

    Args:
        tables: As they are.
        ties: What the tables of the lake have to do with them.
        has_flink: Whether a Flink can do it.
        keep: How many snapshots of a table the lake keeps.
        now_ms: The time of the plan.

    """
    for each in tables:
        if each.is_unmerged:
            yield _compaction(each, ties, has_flink=has_flink)
        if _is_ours(each, ties):
            yield from _expiry(each, ties, has_flink=has_flink, keep=keep, now_ms=now_ms)


def _is_ours(table: PaimonSummary, ties: Ties) -> bool:
    """Whether a job of the lake writes it: other tables expire by those who write them."""
    return (table.table, table.created_ms) in ties.keyed


def _compaction(table: PaimonSummary, ties: Ties, *, has_flink: bool) -> Action | Waiting:
    """Propose to compact a table that no writer compacts.

    Where an import lacks snapshots it waits: the commit expires old ones, by the table's options. Those
    of the lake's own tables it leaves.
    """
    name, files = OtherTable(name=f"paimon:{table.table}"), table.files
    behind = None if _is_ours(table, ties) else _behind(table, ties)
    if behind is None and has_flink:
        gain_s = files.unmerged * OPEN_FILE_S
        return Action(
            kind=Kind.PAIMON,
            table=name,
            reason=f"each read merges up to {counted(files.unmerged_per_bucket_max, 'file')} of one "
            f"bucket, more than {UNMERGED_MAX}",
            gain=f"reads save {time_text(gain_s)}",
            gain_s=gain_s,
            steps=(files.bytes,),
            since_ms=table.history[-1].committed_at_ms if table.history else 0,
            executor=Executor.FLINK,
        )
    remedy = _NO_FLINK
    if behind is not None:
        remedy = Remedy.run("paimon", "import", table.table, "--to", behind)
    return Waiting(
        kind=Kind.PAIMON,
        table=name,
        reason="no Flink is named that could do it"
        if behind is None
        else f"`{behind}` lacks snapshots, which the commit may expire",
        cost_bytes=files.bytes,
        remedy=remedy,
    )


def _behind(table: PaimonSummary, ties: Ties) -> str | None:
    return next(
        (
            target
            for target, token in sorted(ties.tokens.items())
            if _is_taken(table, token) and token.snapshot_id < (table.snapshot_id or 0)
        ),
        None,
    )


def _is_taken(table: PaimonSummary, token: Token) -> bool:
    """Whether a token is of this table: an import of one that was dropped and made again takes nothing of it."""
    return token.table == table.table and token.created_ms in (0, table.created_ms)


def planned_expiry(table: PaimonSummary, ties: Ties, *, keep: int, now_ms: int) -> PaimonExpiry:
    """Plan which snapshots of a table expire; see `plan_expiry`. Pure."""
    if table.retention is None:  # it cannot be read
        return PaimonExpiry(first_kept=0, count=0)
    return plan_expiry(
        table.history,
        retention=table.retention,
        tokens={name: at for name, at in ties.tokens.items() if _is_taken(table, at)},
        keep=keep,
        now_ms=now_ms,
    )


def _expiry(
    table: PaimonSummary, ties: Ties, *, has_flink: bool, keep: int, now_ms: int
) -> Iterator[Action | Waiting]:
    name = OtherTable(name=f"paimon:{table.table}")
    plan = planned_expiry(table, ties, keep=keep, now_ms=now_ms)
    stopped = _why_none_expires(table, plan, ties, has_flink=has_flink)
    if stopped is None and plan.count:
        yield Action(
            kind=Kind.PAIMON_EXPIRE,
            table=name,
            reason=f"{counted(table.snapshots, 'snapshot')}, those from {plan.first_kept} on are kept",
            gain=f"{plan.count:,} fewer snapshots, and their files",
            gain_s=plan.count * SNAPSHOT_S,
            steps=(0,),
            since_ms=table.history[0].committed_at_ms,
            executor=Executor.FLINK,
        )
    for why in (stopped, _who_holds(table, plan, ties)):
        if why is not None:
            reason, remedy = why
            yield Waiting(
                kind=Kind.PAIMON_EXPIRE, table=name, reason=reason, cost_bytes=0, remedy=remedy
            )


def _why_none_expires(
    table: PaimonSummary, plan: PaimonExpiry, ties: Ties, *, has_flink: bool
) -> tuple[str, Remedy | None] | None:
    """Say what keeps all snapshots of a table, and what to do; None if nothing does."""
    said = table.retention
    if said is not None and said.age_ms is None:
        return (
            f"its `snapshot.time-retained` is `{said.age}`, which is not understood here",
            Remedy(advice="write it as a number with a unit, like `1 h`"),
        )
    if not plan.count:
        return None
    if said is not None and said.changelogs:
        return (
            f"it keeps changelogs of its own (`{said.changelogs}`), which an expiry by Flink would lose",
            Remedy(
                advice="reset that option, and keep snapshots as long by `snapshot.time-retained`"
            ),
        )
    if ties.unread:
        return f"what `{ties.unread[0]}` took of it is not known: it cannot be read", None
    return None if has_flink else ("no Flink is named that could do it", _NO_FLINK)


def _who_holds(
    table: PaimonSummary, plan: PaimonExpiry, ties: Ties
) -> tuple[str, Remedy | None] | None:
    """Say which reader keeps snapshots that the lake would not, and what to do; None if none does."""
    if not plan.held:
        return None
    target = next((each for each in ties.tokens if plan.held_by in (each, consumer_of(each))), None)
    reason = f"{counted(plan.held, 'snapshot')} stay that `{plan.held_by}` has not read"
    token = None if target is None else ties.tokens[target]
    if target is not None and token is not None and token.snapshot_id <= plan.first_kept:
        return reason, Remedy.run("paimon", "import", table.table, "--to", target)
    return reason, Remedy(
        advice=f"if no program uses that consumer, drop it by Flink's SQL: `CALL sys.reset_consumer("
        f"'{table.table}', '{plan.held_by}')`"
    )


@dataclass(frozen=True, kw_only=True)
class PaimonUpkeep:
    """The tables of the lake's Paimon warehouse."""

    lake: OpenLake

    def proposed(self) -> tuple[Action | Waiting, ...]:
        """List what would help; nothing without a warehouse, or if it cannot be read."""
        return tuple(self._planned())

    def perform(self, action: Action) -> str:
        """Compact or expire a table by Flink, and wait for it; empty if that is no longer due.

        It is planned again, by what the lake has taken now.

        Raises:
            FlinkUnavailableError: If Flink does not answer; whether it was done is not known.
            FlinkRefusedError: If the job failed, as beside a writer that compacted the same files.
            PaimonTableNotFoundError, PaimonWarehouseError: If it is there no more.

        """
        name = str(action.table).partition(":")[2]
        ties = ties_of(self.lake)
        table = self._table(name)
        now_ms = clock.now_ms()
        due = paimon_actions(
            (table,), ties, has_flink=True, keep=self.lake.settings.snapshots_kept, now_ms=now_ms
        )
        if action.key not in {each.key for each in due if isinstance(each, Action)}:
            return ""
        if action.kind is Kind.PAIMON:
            return self._compact(table, ties)
        return self._expire(table, ties, now_ms=now_ms)

    def _compact(self, table: PaimonSummary, ties: Ties) -> str:
        options = ",".join(f"{key}={value}" for key, value in NO_EXPIRY.items())
        more = f", options => {quote_text(options)}" if _is_ours(table, ties) else ""
        self._call(f"call sys.compact(`table` => {quote_text(table.table)}{more})")
        before, after = (
            each.files.unmerged_per_bucket_max for each in (table, self._table(table.table))
        )
        return f"{counted(before, 'unmerged file')} of one bucket → {after:,}"

    def _expire(self, table: PaimonSummary, ties: Ties, *, now_ms: int) -> str:
        """Expire what is planned: at most so many, from the oldest on, and none that the guard keeps.

        Until Flink begins, more commits come, and another program may expire some: by their number alone
        Paimon would go beyond the plan. A reader that began before the guard was set is looked for after it.
        """
        keep = self.lake.settings.snapshots_kept
        plan = planned_expiry(table, ties, keep=keep, now_ms=now_ms)
        opened = PaimonWarehouse.open(self.lake.settings).listed(table.table)
        opened.hold(GUARD, from_snapshot_id=plan.first_kept)
        crash_point("upkeep.after_guard")
        now = ties_of(self.lake)
        again = planned_expiry(table, now, keep=keep, now_ms=now_ms)
        if now.unread or again.first_kept < plan.first_kept:
            # without the tokens of a table that cannot be read it never moves on
            opened.hold(GUARD, from_snapshot_id=min(plan.first_kept, again.first_kept))
            return ""
        kept = (table.snapshot_id or 0) - plan.first_kept + 1
        first = table.oldest_snapshot_id or plan.first_kept
        self._call(
            f"call sys.expire_snapshots(`table` => {quote_text(table.table)}, `retain_max` => {kept}, "
            f"`retain_min` => {kept}, `max_deletes` => {plan.first_kept - first})"
        )
        crash_point("upkeep.after_expiry")
        there = {each.id for each in self._table(table.table).history}
        gone = [each for each in table.history if each.id not in there]
        return f"{counted(len(gone), 'snapshot')} expired" if gone else ""

    def _call(self, statement: str) -> None:
        settings = self.lake.settings
        Gateway(access_of(settings)).run(
            (
                f"create catalog {CATALOG} with ({option_list(paimon_options(settings))})",
                f"use catalog {CATALOG}",
                statement,
            ),
            properties=_BATCH,
        )

    def _planned(self) -> Iterator[Action | Waiting]:
        settings = self.lake.settings
        if not settings.paimon_warehouse:
            return
        try:
            found = summaries(PaimonWarehouse.open(settings))
        except LakeError:  # `headrace status` names it
            return
        yield from paimon_actions(
            found,
            ties_of(self.lake),
            has_flink=settings.flink is not None,
            keep=settings.snapshots_kept,
            now_ms=clock.now_ms(),
        )

    def _table(self, name: str) -> PaimonSummary:
        warehouse = PaimonWarehouse.open(self.lake.settings)
        found = look_at_each(warehouse, only=name).get(name)
        if found is None:
            raise PaimonTableNotFoundError(name, known=tuple(warehouse.names()))
        if isinstance(found, LakeError):
            raise found
        return found
