"""Runs many seeds of workers and of recovery, or searches for a seed that notices each mutation.

    python -m tests.simulation --seeds 10000 [--from N] [--processes 2] [--kind recovery]
    python -m tests.simulation --only SEED [--kind recovery]
    python -m tests.simulation --mutations [--seeds 1000] [--named TEXT] [--kind recovery]

Exit code 1 if an invariant does not hold, a mutation goes unnoticed, or a fault or a point never came up.
"""

import argparse
import sys
import time
import traceback

from tests.simulation.faults import OTHERS, Counts, Fault
from tests.simulation.runs import SIMULATIONS, Kind, parts, unchanged
from tests.simulation.world import quiet


def run_many(kind: Kind, first: int, count: int, processes: int) -> bool:
    """Print how it goes and what came up. Return whether everything holds."""
    total, failed, done, began_s = Counts(), list[tuple[int, str]](), 0, time.monotonic()
    for counts, wrong in parts(kind, first, count, processes):
        total.add(counts)
        for seed, text in wrong:
            print(f"\nseed {seed}: {text}\n  again: python -m tests.simulation --only {seed} --kind {kind}", flush=True)
        failed += wrong
        done += counts.runs + len(wrong)
        rate = done / (time.monotonic() - began_s)
        print(f"\r{kind}: {done}/{count} seeds, {rate:.0f}/s, {len(failed)} failed", end="", flush=True)
    print()
    missing = show(kind, total)
    return not failed and not missing


def show(kind: Kind, total: Counts) -> list[str]:
    """Print the table; return what never came up."""
    simulation = SIMULATIONS[kind]
    points = [
        (name, total.passed[name], sum(n for (_, at), n in total.faults.items() if at == name))
        for name in simulation.points
    ]
    kinds = [
        (fault.value, sum(n for (came, _), n in total.faults.items() if came == fault)) for fault in simulation.faults
    ]
    print(f"{total.runs} runs, {total.events} events, {total.steps} switches between threads")
    print(", ".join(f"{name} {getattr(total, name)}" for name in OTHERS))
    print(f"\n{'fault':<20}{'times':>9}")
    for came, times in kinds:
        print(f"{came:<20}{times:>9}")
    print(f"\n{'point':<20}{'passed':>9}{'faults':>9}")
    for name, passed, times in points:
        print(f"{name:<20}{passed:>9}{times:>9}")
    print(f"\n{'request':<20}{'lost_ack':>9}{'late_copy':>11}{'doubled':>9}")
    for at in simulation.points:
        lost, late, doubled = (total.faults[kind, at] for kind in (Fault.LOST_ACK, Fault.LATE_COPY, Fault.DOUBLED))
        if late or doubled:
            print(f"{at:<20}{lost:>9}{late:>11}{doubled:>9}")
    missing = [came for came, times in kinds if not times]
    missing += [name for name, passed, times in points if not passed or not times]
    if missing:
        print("never came up: " + ", ".join(missing))
    return missing


def search(kind: Kind, count: int, named: str) -> bool:
    """Print the first seed that notices each mutation. Return whether one notices each."""
    simulation, is_every_noticed = SIMULATIONS[kind], True
    with quiet():
        for mutation in simulation.mutations:
            if named not in mutation.name:
                continue
            code, began_s = simulation.code(mutation.changes), time.process_time()
            found = ((seed, simulation.notices(seed, code, mutation.is_strict)) for seed in range(count))
            first = next(((seed, text) for seed, text in found if text), None)
            took_s = time.process_time() - began_s
            shown = f"seed {first[0]:>4}  {first[1][:100]}" if first else f"NOT NOTICED by {count} seeds"
            print(f"{mutation.name:<52}{took_s:>6.1f} s  {shown}", flush=True)
            is_every_noticed = is_every_noticed and first is not None
    return is_every_noticed


def run_one(kind: Kind, seed: int) -> bool:
    """Run one seed, and print the trace of what broke."""
    try:
        with quiet():
            counts = SIMULATIONS[kind].run(seed, unchanged(kind))
    except Exception:  # noqa: BLE001 - shown as it is
        traceback.print_exc()
        return False
    print(f"seed {seed} holds: {counts.events} events, {counts.steps} switches, {sum(counts.faults.values())} faults")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--named", default="")
    parser.add_argument("--kind", type=Kind, choices=tuple(Kind), help="default: both; of --only: workers")
    given = parser.parse_args()
    if given.only is not None:
        return 0 if run_one(given.kind or Kind.WORKERS, given.only) else 1
    kinds = (given.kind,) if given.kind else tuple(Kind)
    held = [
        search(kind, given.seeds, given.named)
        if given.mutations
        else run_many(kind, given.first, given.seeds, given.processes)
        for kind in kinds
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
