"""Take any one rule or guard out of the code, and the simulation notices."""

import pytest

from tests.simulation.modules import Change, Modules
from tests.simulation.mutation import Mutation
from tests.simulation.runs import SIMULATIONS, Kind
from tests.simulation.world import quiet

MORE = 3
"""Seeds tried after the one that is known, because the code may have changed since."""

EVERY = [(kind, mutation) for kind, simulation in SIMULATIONS.items() for mutation in simulation.mutations]


@pytest.mark.parametrize(
    ("kind", "mutation"), EVERY, ids=[f"{kind}-{mutation.name.replace(' ', '-')}" for kind, mutation in EVERY]
)
def test_what_is_taken_out_is_missed(kind: Kind, mutation: Mutation) -> None:
    simulation = SIMULATIONS[kind]
    code = simulation.code(mutation.changes)
    first = simulation.known.get(mutation.name, 0)
    seeds = range(first, first + 1 + MORE)
    with quiet():
        assert any(simulation.notices(seed, code, mutation.is_strict) for seed in seeds), (
            f"search for another seed: python -m tests.simulation --mutations --kind {kind} --named {mutation.name!r}"
        )


def test_a_change_that_does_not_fit_the_source_is_an_error() -> None:
    """Otherwise it would change nothing, and nothing could notice."""
    with pytest.raises(LookupError):
        Modules((Change("topology.delivery.tracker", "no such text", ""),))
