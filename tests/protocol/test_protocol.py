"""The commit protocol in every state it can reach, and with every planted bug; see `docs/protocol.md`."""

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from tests.protocol import scenarios
from tests.protocol.explore import Explored, Scenario, explore
from tests.protocol.invariants import INVARIANTS, everything_is_taken_in_the_end
from tests.protocol.mutants import MUTANTS, Mutant
from tests.protocol.rules import Rules
from tests.protocol.scenarios import LONG, SHORT

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
STATES_MIN, CPU_S_MAX = 1_000_000, 60.0
# a search that never gets there proves nothing about it
REACHED = {
    scenarios.INGESTERS.name: (
        "ingester 1 is killed",
        "ingester 1 is refused with a named error",
        "ingester 1 finds the row changed",
        "ingester 1 removes what it staged",
        "ingester 1 has its late request carried out",
        "ingester 1 takes its commit for done",
        "ingester 1 is told so while the registry is locked",
    ),
    scenarios.APPENDS.name: ("appender has its late request carried out",),
    scenarios.REWRITES.name: (
        "compactor is refused with a named error",
        "compactor records its commit and is told so",
        "rewriter is refused with a named error",
        "rewriter records its commit and is told so",
    ),
    scenarios.LEASES.name: (
        "tagger is told so",
        "tagger is refused with a named error",
        "reader is told so",
        "reader has its time run out",
    ),
    scenarios.EXPIRY.name: ("expiry is told so", "expiry is refused by the catalog"),
    scenarios.PUBLISHING.name: (
        "publisher wants to publish its branch",
        "publisher records its commit and is told so",
        "publisher is refused by the catalog",
    ),
    scenarios.CLEANING.name: ("clean-up removes f_",),
}


def named(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", SHORT, ids=named)
def test_no_state_that_can_be_reached_breaks_an_invariant(scenario: Scenario) -> None:
    found = explore(scenario)
    assert found.violation is None, str(found.violation)
    assert_reached(scenario, found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.rule)
def test_every_planted_bug_is_caught(mutant: Mutant) -> None:
    found = explore(mutant.scenario, rules=mutant.rules()).violation
    assert found is not None, mutant.story
    assert found.invariant == mutant.invariant, str(found)


def test_every_rule_is_broken_by_exactly_one_planted_bug() -> None:
    assert Counter(mutant.rule for mutant in MUTANTS) == Counter(f.name for f in fields(Rules))


def test_every_invariant_catches_a_planted_bug() -> None:
    checks = (*INVARIANTS, everything_is_taken_in_the_end)
    assert {mutant.invariant for mutant in MUTANTS} == {check.__name__ for check in checks}


def test_a_violation_is_told_as_the_shortest_story() -> None:
    found = explore(scenarios.INGESTERS, rules=Rules(moves_offsets_with_rows=False)).violation
    assert str(found).splitlines() == [
        "offsets_match_rows: the offset is 0, the rows reach 1, after 4 steps",
        "  1. ingester 1 reads offset 0, takes 0..0",
        "     offset 0; on disk f1; on record nothing",
        "  2. ingester 1 stages s1 on s0",
        "     offset 0; on disk f1, f3; on record nothing",
        "  3. ingester 1 passes the catalog's checks",
        "     offset 0; on disk f1, f3; on record nothing",
        "  4. ingester 1 swaps",
        "     offset 0; main=s1; s1<-s0[f3: f1(0)]; on disk f1, f3; on record nothing",
    ]


@pytest.mark.proof
@pytest.mark.timeout(600)  # of wall clock, on a busy machine
def test_a_million_states_within_a_minute_of_cpu_break_no_invariant() -> None:
    found = {scenario.name: explore(scenario) for scenario in LONG}
    for scenario in LONG:
        assert found[scenario.name].violation is None, str(found[scenario.name].violation)
        assert_reached(scenario, found[scenario.name])
    # takes two lost answers, which the short form does not have
    assert "ingester cannot find out and says so" in found[scenarios.APPENDS.name].done
    counts = {name: each.states for name, each in found.items()}
    assert counts | {"all": sum(counts.values())} == counts_in_the_document()
    assert sum(counts.values()) >= STATES_MIN
    assert sum(each.cpu_s for each in found.values()) <= CPU_S_MAX


def counts_in_the_document() -> dict[str, int]:
    rows = re.findall(r"^\| ([^|]+) \| [^|]*\| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in rows}


def assert_reached(scenario: Scenario, found: Explored) -> None:
    done = {re.sub(r"\bf\d+(, f\d+)*", "f_", each) for each in found.done}
    assert not set(REACHED[scenario.name]) - done
