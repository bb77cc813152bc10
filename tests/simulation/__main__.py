"""Runs many seeds, or searches for a seed that notices each mutation.

    python -m tests.simulation --seeds 10000 [--from N] [--processes 2]
    python -m tests.simulation --only SEED
    python -m tests.simulation --mutations [--seeds 500] [--named TEXT]

Exit code 1 where an invariant does not hold, a mutation goes unnoticed, or a fault or a point never came up.
"""

import argparse
import sys
import time
import traceback

from tests.simulation.faults import OTHERS, POINTS, Counts, Fault
from tests.simulation.mutations import MUTATIONS
from tests.simulation.runs import parts, unchanged
from tests.simulation.world import Code, notices, quiet, run


def run_many(first: int, count: int, processes: int) -> bool:
    """Print how it goes and what came up. False where something does not hold."""
    total, failed, done, began_s = Counts(), list[tuple[int, str]](), 0, time.monotonic()
    for counts, wrong in parts(first, count, processes):
        total.add(counts)
        for seed, text in wrong:
            print(f"\nseed {seed}: {text}\n  again: python -m tests.simulation --only {seed}", flush=True)
        failed += wrong
        done += counts.runs + len(wrong)
        rate = done / (time.monotonic() - began_s)
        print(f"\r{done}/{count} seeds, {rate:.0f}/s, {len(failed)} failed", end="", flush=True)
    print()
    missing = show(total)
    return not failed and not missing


def show(total: Counts) -> list[str]:
    """Print the table; returns what never came up."""
    points = [
        (name, total.passed[name], sum(n for (_, at), n in total.faults.items() if at == name)) for name in POINTS
    ]
    kinds = [(fault.value, sum(n for (kind, _), n in total.faults.items() if kind == fault)) for fault in Fault]
    print(f"{total.runs} runs, {total.events} events, {total.steps} switches between threads")
    print(", ".join(f"{name} {getattr(total, name)}" for name in OTHERS))
    print(f"\n{'fault':<20}{'times':>9}")
    for kind, times in kinds:
        print(f"{kind:<20}{times:>9}")
    print(f"\n{'point':<20}{'passed':>9}{'faults':>9}")
    for name, passed, times in points:
        print(f"{name:<20}{passed:>9}{times:>9}")
    missing = [kind for kind, times in kinds if not times]
    missing += [name for name, passed, times in points if not passed or not times]
    if missing:
        print("never came up: " + ", ".join(missing))
    return missing


def search(count: int, named: str) -> bool:
    """Print the first seed that notices each mutation. False where none does."""
    is_every_noticed = True
    with quiet():
        for mutation in MUTATIONS:
            if named not in mutation.name:
                continue
            code, began_s = Code(mutation.changes), time.process_time()
            first = next(
                ((seed, text) for seed in range(count) if (text := notices(seed, code, mutation.is_strict))), None
            )
            took_s = time.process_time() - began_s
            shown = f"seed {first[0]:>4}  {first[1][:100]}" if first else f"NOT NOTICED by {count} seeds"
            print(f"{mutation.name:<52}{took_s:>6.1f} s  {shown}", flush=True)
            is_every_noticed = is_every_noticed and first is not None
    return is_every_noticed


def run_one(seed: int) -> bool:
    """One seed, with the trace of what broke."""
    try:
        with quiet():
            counts = run(seed, unchanged())
    except Exception:  # noqa: BLE001 - shown as it is
        traceback.print_exc()
        return False
    print(f"seed {seed} holds: {counts.events} events, {counts.steps} switches, {sum(counts.faults.values())} faults")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--named", default="")
    given = parser.parse_args()
    if given.only is not None:
        return 0 if run_one(given.only) else 1
    if given.mutations:
        return 0 if search(given.seeds, given.named) else 1
    return 0 if run_many(given.first, given.seeds, given.processes) else 1


if __name__ == "__main__":
    sys.exit(main())
