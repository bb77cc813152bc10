"""Some hundred runs whose conversations have states: a turn begins with what its visible predecessors left, S1."""

import time

import pytest

from tests.simulation.modules import Change
from tests.simulation.runs import unchanged
from tests.simulation.world import Code, World, notices, quiet

STATES, POLLING = "workers.stream.restoring", "workers.stream.polling"
SEEDS = range(1000, 1090)
SEEDS_MIN = 40
CPU_MAX_S = 6.0
CHANGED = {
    "states outlive their window": (
        Change(STATES, "self._owned[partition] = held", "self._owned.setdefault(partition, held)"),
    ),
    "what was read for an older position will do": (
        Change(STATES, "if found is not None and found[0] == position:", "if found is not None:"),
        Change(STATES, "if held is None or found_at != position:", "if held is None:"),
        Change(POLLING, "self._states.keep(self._source.assignment())", "pass"),
    ),
    "a window that goes on begins anew": (
        Change(POLLING, "is not None and not self._tracker.continues(position):", "is not None:"),
        Change(POLLING, "is_going_on = self._tracker.continues(position)", "is_going_on = False"),
    ),
}
"""Rules that are taken out, and the texts that stand for them."""

NOTICED_WITHIN = range(1000, 1020)


def test_whatever_goes_wrong_a_turn_is_planned_with_what_its_visible_predecessors_left() -> None:
    count, began_s = 0, time.process_time()
    with quiet():
        for seed in SEEDS:
            if seed >= SEEDS[0] + SEEDS_MIN and time.process_time() - began_s > CPU_MAX_S:
                break
            world = World(seed, unchanged(), remembers=True)
            try:
                world.run()
            except Exception as exc:
                raise AssertionError(f"seed {seed}") from exc
            count += world.ledger.count
    assert count > 100 * SEEDS_MIN


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_taken_out_is_missed(name: str) -> None:
    code = Code(CHANGED[name])
    with quiet():
        assert any(notices(seed, code, True, remembers=True) for seed in NOTICED_WITHIN)
