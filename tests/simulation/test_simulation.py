"""Some hundred runs of real workers on a broker in virtual time, each with 16 faults: every invariant holds.

A seed that fails is named and can be run again: `python -m tests.simulation --only SEED`.
"""

import time

import pytest

from tests.simulation.faults import POINTS, Counts, Fault
from tests.simulation.runs import unchanged
from tests.simulation.world import SLOTS, quiet, run

SEEDS = 250
CPU_MAX_S = 30.0
"""What is not run by then is left out, but never fewer seeds than this."""
SEEDS_MIN = 80
FAULTS_MIN = 10
EVENTS_MIN = 300


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Of all runs; each has to hold."""
    total, began_s = Counts(), time.process_time()
    with quiet():
        for seed in range(SEEDS):
            if seed >= SEEDS_MIN and time.process_time() - began_s > CPU_MAX_S:
                break
            try:
                one = run(seed, unchanged())
            except Exception as exc:
                raise AssertionError(f"seed {seed}: python -m tests.simulation --only {seed}") from exc
            assert one.events >= EVENTS_MIN
            assert sum(one.faults.values()) >= FAULTS_MIN
            total.add(one)
    return total


@pytest.mark.timeout(600)
def test_whatever_goes_wrong_every_event_is_answered_once_in_its_keys_order(counts: Counts) -> None:
    assert counts.runs >= SEEDS_MIN
    assert SLOTS >= 3


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", Fault)
def test_every_fault_came_up(counts: Counts, fault: Fault) -> None:
    assert any(kind == fault for kind, _ in counts.faults)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", POINTS)
def test_something_went_wrong_at_every_point(counts: Counts, point: str) -> None:
    assert counts.passed[point]
    assert any(at == point for _, at in counts.faults)


def test_a_seed_is_run_again_exactly() -> None:
    """Otherwise a seed that failed would not show what it showed."""
    with quiet():
        first, second = run(7, unchanged()), run(7, unchanged())
    assert (first.steps, first.passed, first.faults) == (second.steps, second.passed, second.faults)
