"""Many runs, in one process or several."""

import multiprocessing
from collections.abc import Iterator
from functools import cache

from tests.simulation.faults import Counts
from tests.simulation.world import Code, quiet, run

PART = 25
"""Seeds between two looks at the counter."""


@cache
def unchanged() -> Code:
    """The worker as it is."""
    return Code()


def _run_part(seeds: range) -> tuple[Counts, list[tuple[int, str]]]:
    counts, failed = Counts(), list[tuple[int, str]]()
    with quiet():
        for seed in seeds:
            try:
                counts.add(run(seed, unchanged()))
            except Exception as exc:  # noqa: BLE001 - whatever ends a run is what the seed shows
                failed.append((seed, f"{type(exc).__name__}: {exc}"))
    return counts, failed


def parts(first: int, count: int, processes: int) -> Iterator[tuple[Counts, list[tuple[int, str]]]]:
    """What came up in each part, and the seeds of it that found something wrong, with what it was."""
    seeds = [range(at, min(at + PART, first + count)) for at in range(first, first + count, PART)]
    if processes == 1:
        yield from map(_run_part, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_run_part, seeds)
