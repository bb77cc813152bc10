"""Take any one rule or guard out of the worker, and the simulation notices."""

import pytest

from tests.simulation.modules import Change, Modules
from tests.simulation.mutation import Mutation
from tests.simulation.mutations import KNOWN, MUTATIONS
from tests.simulation.world import Code, notices, quiet

MORE = 3
"""Seeds tried after the one that is known, where the worker has changed since."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_what_is_taken_out_is_missed(mutation: Mutation) -> None:
    code = Code(mutation.changes)
    first = KNOWN.get(mutation.name, 0)
    seeds = range(first, first + 1 + MORE)
    with quiet():
        assert any(notices(seed, code, mutation.is_strict) for seed in seeds), (
            "search for another seed: python -m tests.simulation --mutations --named " + repr(mutation.name)
        )


def test_a_change_that_does_not_fit_the_source_is_an_error() -> None:
    """Otherwise it would change nothing, and nothing could notice."""
    with pytest.raises(LookupError):
        Modules((Change("topology.delivery.tracker", "no such text", ""),))
