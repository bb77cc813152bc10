"""Runs of redrive and replay on a broker in virtual time, each with faults: every invariant holds.

A seed that fails is named and can be run again: `python -m tests.simulation --only SEED --kind recovery`.
"""

import pytest

from tests.simulation.faults import Counts
from tests.simulation.recovery.world import OF_CALLS, OF_PROCESSES, POINTS, run
from tests.simulation.runs import Kind, unchanged
from tests.simulation.world import quiet

SEEDS = 60
FAULTS_MIN = 5


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Of all runs; each has to hold."""
    total = Counts()
    with quiet():
        for seed in range(SEEDS):
            try:
                one = run(seed, unchanged(Kind.RECOVERY))
            except Exception as exc:
                again = f"python -m tests.simulation --only {seed} --kind {Kind.RECOVERY}"
                raise AssertionError(f"seed {seed}: {again}") from exc
            assert sum(one.faults.values()) >= FAULTS_MIN
            total.add(one)
    return total


def test_whatever_goes_wrong_each_letter_is_put_back_once_and_each_record_copied_once(counts: Counts) -> None:
    assert counts.runs == SEEDS


def test_every_fault_came_up_and_something_went_wrong_at_every_point(counts: Counts) -> None:
    came = {fault for fault, _ in counts.faults}
    assert {fault.value for fault in (*OF_PROCESSES, *OF_CALLS)} - came == set()
    assert {point for point in POINTS if counts.passed[point]} == set(POINTS)
    assert {point for _, point in counts.faults} >= set(POINTS)
