"""What the protocol demands, rule by rule, and how far a search goes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the protocol demands; a planted bug breaks one rule (`mutants.py` says what each is)."""

    # offsets
    checks_fence: bool = True
    checks_fence_on_retry: bool = True
    moves_offsets_with_rows: bool = True
    keeps_offsets_in_property: bool = True
    resumes_from_table: bool = True
    starts_after_kill: bool = True
    # the swap and its answer
    writes_files_before_swap: bool = True
    requires_head_at_swap: bool = True
    compares_and_swaps: bool = True
    looks_before_retry: bool = True
    takes_silence_for_success: bool = False
    keeps_snapshot_id: bool = True
    looks_on_record_too: bool = True
    keeps_files_unless_refused: bool = True
    names_manifests_by_attempt: bool = True
    # rewriting
    requires_inputs: bool = True
    refuses_rows_it_did_not_see: bool = True
    refuses_expired_base: bool = True
    # expiry
    records_before_death: bool = True
    records_children: bool = True
    kills_only_what_is_on_record: bool = True
    spares_names: bool = True
    spares_new_names: bool = True
    spares_leased_chain: bool = True
    spares_newly_leased_chain: bool = True
    # publishing a branch
    checks_ancestry: bool = True
    requires_main_at_publish: bool = True
    publishes_once: bool = True
    # clean-up
    spares_announced_files: bool = True
    reads_announcements_before_reach: bool = True
    announces_before_writing: bool = True
    announces_until_landed: bool = True
    reaches_from_every_snapshot: bool = True
    waits_for_late_requests: bool = True


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far a search goes: what there is to take, how often things fail, what expiry leaves."""

    records: int = 3
    batches: tuple[int, ...] = (1, 2)
    crashes: int = 1
    losses: int = 1  # answers that do not come
    keep: int | None = None  # unnamed snapshots that a commit leaves alive; None: no expiry
    cleans: bool = False  # whether there is a clean-up to announce files to
