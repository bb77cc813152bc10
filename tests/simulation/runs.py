"""Many runs of workers or of recovery, in one process or several."""

import multiprocessing
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache, partial
from typing import Any, NamedTuple

from tests.simulation import faults, mutations
from tests.simulation import world as workers
from tests.simulation.faults import Counts, Fault
from tests.simulation.mutation import Mutation
from tests.simulation.recovery import mutations as recovery_mutations
from tests.simulation.recovery import world as recovery

PART = 25
"""Seeds between two looks at the counter."""


class Kind(StrEnum):
    """What is simulated."""

    WORKERS = "workers"
    RECOVERY = "recovery"


class Simulation(NamedTuple):
    """One kind of run. `code` makes the code to run, of which changes are taken; `run` raises what broke."""

    code: Callable[..., Any]
    run: Callable[[int, Any], Counts]
    notices: Callable[[int, Any, bool], str]
    faults: tuple[Fault, ...]
    points: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    known: dict[str, int]
    """First seeds that notice, by mutation, if not 0."""


SIMULATIONS = {
    Kind.WORKERS: Simulation(
        workers.Code,
        workers.run,
        workers.notices,
        tuple(Fault),
        faults.POINTS,
        mutations.MUTATIONS,
        mutations.KNOWN,
    ),
    Kind.RECOVERY: Simulation(
        recovery.RecoveryCode,
        recovery.run,
        recovery.notices,
        (*recovery.OF_PROCESSES, *recovery.OF_CALLS),
        recovery.POINTS,
        recovery_mutations.RECOVERY,
        recovery_mutations.KNOWN,
    ),
}


@cache
def unchanged(kind: Kind = Kind.WORKERS) -> Any:
    """Return the code as it is."""
    return SIMULATIONS[kind].code()


def _run_part(kind: Kind, seeds: range) -> tuple[Counts, list[tuple[int, str]]]:
    counts, failed = Counts(), list[tuple[int, str]]()
    with workers.quiet():
        for seed in seeds:
            try:
                counts.add(SIMULATIONS[kind].run(seed, unchanged(kind)))
            except Exception as exc:  # noqa: BLE001 - whatever ends a run is what the seed shows
                failed.append((seed, f"{type(exc).__name__}: {exc}"))
    return counts, failed


def parts(kind: Kind, first: int, count: int, processes: int) -> Iterator[tuple[Counts, list[tuple[int, str]]]]:
    """Yield what came up in each part, and the seeds of it that found something wrong, with what it was."""
    seeds = [range(at, min(at + PART, first + count)) for at in range(first, first + count, PART)]
    if processes == 1:
        yield from map(partial(_run_part, kind), seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(partial(_run_part, kind), seeds)
