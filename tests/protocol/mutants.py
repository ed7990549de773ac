"""Planted bugs: each breaks one rule, and is caught by one named invariant in one scenario."""

from dataclasses import dataclass
from typing import Final

from tests.protocol import scenarios
from tests.protocol.explore import Scenario
from tests.protocol.rules import Rules


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A bug that somebody could write: the rule it breaks, where it shows, and as what."""

    story: str
    rule: str
    scenario: Scenario
    invariant: str

    def rules(self) -> Rules:
        """Return the protocol with this bug."""
        return Rules(**{self.rule: not getattr(Rules(), self.rule)})


def _mutant(rule: str, scenario: Scenario, invariant: str, story: str) -> Mutant:
    return Mutant(story=story, rule=rule, scenario=scenario, invariant=invariant)


MUTANTS: Final = (
    _mutant(
        "checks_fence",
        scenarios.INGESTERS,
        "nothing_is_doubled",
        "Nobody looks whether the offsets are still those that the writer read.",
    ),
    _mutant(
        "checks_fence_on_retry",
        scenarios.INGESTERS,
        "nothing_is_doubled",
        "The offsets are looked at before the first attempt, but not before a retry.",
    ),
    _mutant(
        "moves_offsets_with_rows",
        scenarios.INGESTERS,
        "offsets_match_rows",
        "Rows land in one commit, their offsets in the next.",
    ),
    _mutant(
        "keeps_offsets_in_property",
        scenarios.REWRITES,
        "offsets_never_go_back",
        "Offsets are only in snapshot summaries, which expire behind a compaction.",
    ),
    _mutant(
        "resumes_from_table",
        scenarios.INGESTERS,
        "nothing_is_lost",
        "A process goes on where its own notes say, written before the commit landed.",
    ),
    _mutant(
        "starts_after_kill",
        scenarios.APPENDS,
        "everything_is_taken_in_the_end",
        "What a killed process left behind keeps the next one from starting.",
    ),
    _mutant(
        "writes_files_before_swap",
        scenarios.INGESTERS,
        "referenced_files_exist",
        "The data file is written, or forced to disk, after the commit that names it.",
    ),
    _mutant(
        "requires_head_at_swap",
        scenarios.INGESTERS,
        "no_commit_is_dropped",
        "The catalog is not told on which snapshot the commit was staged.",
    ),
    _mutant(
        "compares_and_swaps",
        scenarios.INGESTERS,
        "no_commit_is_dropped",
        "The catalog's row is replaced whatever it says by then.",
    ),
    _mutant(
        "looks_before_retry",
        scenarios.APPENDS,
        "nothing_is_doubled",
        "After a lost answer the append is run again blindly.",
    ),
    _mutant(
        "takes_silence_for_success",
        scenarios.APPENDS,
        "acknowledged_commits_stay",
        "A lost answer is taken for a yes.",
    ),
    _mutant(
        "keeps_snapshot_id",
        scenarios.APPENDS,
        "nothing_is_doubled",
        "Every attempt draws a new snapshot id, so an earlier one is not recognised.",
    ),
    _mutant(
        "looks_on_record_too",
        scenarios.APPENDS,
        "nothing_is_doubled",
        "The own snapshot is looked for in the table only, where it may have expired.",
    ),
    _mutant(
        "keeps_files_unless_refused",
        scenarios.INGESTERS,
        "referenced_files_exist",
        "What was staged is removed although the request may still be carried out.",
    ),
    _mutant(
        "names_manifests_by_attempt",
        scenarios.CLEANING.within(losses=1, crashes=0),
        "referenced_files_exist",
        "All attempts of a commit write the same manifest list, and the refused one removes it.",
    ),
    _mutant(
        "requires_inputs",
        scenarios.REWRITES,
        "nothing_comes_back",
        "Compaction does not look whether its input files are still in the table.",
    ),
    _mutant(
        "refuses_rows_it_did_not_see",
        scenarios.REWRITES,
        "nothing_comes_back",
        "A delete ignores matching rows that were appended while it ran.",
    ),
    _mutant(
        "refuses_expired_base",
        scenarios.REWRITES,
        "nothing_comes_back",
        "A delete whose base has expired takes what it finds for what it saw.",
    ),
    _mutant(
        "records_before_death",
        scenarios.REWRITES.within(crashes=1),
        "changes_are_answerable",
        "Expiry leaves it to the commit's own record to remember what it kills.",
    ),
    _mutant(
        "kills_only_what_is_on_record",
        scenarios.PUBLISHING.within(crashes=1, losses=1),
        "changes_are_answerable",
        "A snapshot is expired although the registry could not be told of it.",
    ),
    _mutant(
        "records_children",
        scenarios.REWRITES.within(crashes=1),
        "changes_are_answerable",
        "Expiry records what it kills, but not the children, who lose their parent then.",
    ),
    _mutant(
        "spares_names",
        scenarios.LEASES,
        "tags_hold",
        "Expiry spares the head, and no tag.",
    ),
    _mutant(
        "spares_new_names",
        scenarios.LEASES,
        "tags_hold",
        "A tag made between the plan of an expiry and its swap dies with its snapshot.",
    ),
    _mutant(
        "spares_leased_chain",
        scenarios.LEASES.within(records=4),
        "leases_hold",
        "Expiry spares a leased snapshot, but not those between it and the head.",
    ),
    _mutant(
        "spares_newly_leased_chain",
        scenarios.LEASES.within(records=4),
        "leases_hold",
        "An expiry planned before the lease only looks whether its snapshots got names since.",
    ),
    _mutant(
        "checks_ancestry",
        scenarios.PUBLISHING,
        "no_commit_is_dropped",
        "Main is moved to the branch whatever it got meanwhile.",
    ),
    _mutant(
        "requires_main_at_publish",
        scenarios.PUBLISHING,
        "no_commit_is_dropped",
        "Ancestry is checked, but not whether main is still there at the swap.",
    ),
    _mutant(
        "publishes_once",
        scenarios.PUBLISHING.within(crashes=1),
        "nothing_is_doubled",
        "Whoever publishes after a kill does not look whether main has the rows already.",
    ),
    _mutant(
        "spares_announced_files",
        scenarios.CLEANING,
        "referenced_files_exist",
        "Clean-up takes a file that a slow writer has yet to commit.",
    ),
    _mutant(
        "reads_announcements_before_reach",
        scenarios.CLEANING,
        "referenced_files_exist",
        "Clean-up reads the table first, and then announcements that are over by then.",
    ),
    _mutant(
        "announces_before_writing",
        scenarios.CLEANING,
        "referenced_files_exist",
        "A writer announces its file once it is written.",
    ),
    _mutant(
        "announces_until_landed",
        scenarios.CLEANING,
        "referenced_files_exist",
        "A writer withdraws its announcement when the file is closed.",
    ),
    _mutant(
        "reaches_from_every_snapshot",
        scenarios.CLEANING,
        "referenced_files_exist",
        "Clean-up keeps what the head needs, and forgets tags and older snapshots.",
    ),
    _mutant(
        "waits_for_late_requests",
        scenarios.CLEANING.within(losses=1),
        "referenced_files_exist",
        "The age that clean-up asks for is shorter than a request can be under way.",
    ),
)
