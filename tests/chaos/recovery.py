"""How soon a killed worker's partitions go on, and how long readers wait for what a killed or stopped one left open.

Each round disturbs one worker of a steady stream and waits until everything is as before. Measured are

* recovery: from the kill to the sight of the first response that the slot's next process wrote, for the slowest of
  the partitions that the slot had;
* the longest pause of the others: the longest time, between the kill and that recovery, in which no response of a
  partition of another worker was appended to the log (`worked`), or was seen by a reader (`seen`);
* held back: the longest that any response waited in the log for a read_committed reader. After a SIGSTOP in the
  middle of a transaction that is until the broker aborts it: `transaction_timeout_ms` and its clean-up interval.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from tests.chaos.fleet import Seat
from tests.chaos.progress import Progress
from tests.chaos.watch import Sight
from tests.chaos.world import World

KILLS = 10
STOPS = 3
UNDISTURBED_S = 30.0
BEFORE_S = 4.0
"""Time before each fault, from which it is known who has which partitions."""

AFTER_S = 3.0
ROUND_S = 40.0
CAUGHT_TRIES_MAX = 300
BETWEEN_TRIES_S = 0.03, 0.25
"""Chosen anew for each: a worker commits at once when it goes on, and then at the same intervals as ever."""

RECOVERY_MAX_S = 5.0
PAUSE_MAX_S = 1.0
UNDISTURBED_MAX_S = 0.1


class Round(Struct, frozen=True, kw_only=True):
    """One kill; seconds. `recovery_s` None: not within ROUND_S."""

    slot: str
    partitions: tuple[int, ...]
    recovery_s: float | None
    worked_pause_s: float
    seen_pause_s: float
    held_back_s: float


class StopRound(Struct, frozen=True, kw_only=True):
    """One SIGSTOP past the session; seconds. `open`: whether it was caught with a transaction open."""

    slot: str
    is_open: bool
    stopped_s: float
    held_back_s: float


class Recovery(Struct, frozen=True, kw_only=True):
    """All rounds, and what readers waited without any fault."""

    seed: int
    rounds: tuple[Round, ...]
    stops: tuple[StopRound, ...]
    undisturbed_s: float
    undisturbed_99_s: float
    undisturbed_count: int

    @property
    def recovery_s(self) -> float:
        """The median; one that did not come back counts as ROUND_S."""
        return median(one.recovery_s if one.recovery_s is not None else ROUND_S for one in self.rounds)

    @property
    def is_within(self) -> bool:
        """Whether recovery and the others' pauses keep their bounds."""
        return self.recovery_s <= RECOVERY_MAX_S and all(one.worked_pause_s <= PAUSE_MAX_S for one in self.rounds)


def measure_recovery(directory: Path, progress: Progress, keys: int, say: Callable[[str], None]) -> int:
    """Measure and print; returns the exit code, 0 where the bounds hold."""
    world = World(directory, progress, keys, say)
    try:
        found = _measure(world, say)
    finally:
        world.close()
    (directory / "recovery.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    lines = _table(found)
    (directory / "recovery.txt").write_text("\n".join(lines) + "\n")
    say("\n".join(lines))
    return 0 if found.is_within else 1


def _measure(world: World, say: Callable[[str], None]) -> Recovery:
    world.add_generation()
    world.load.start()
    if not world.wait(lambda: world.watch.answered_count > 0, ROUND_S):
        raise TimeoutError(f"nothing was answered within {ROUND_S:g} s")
    _pass(world, 2 * BEFORE_S)
    from_s = time.time()
    _pass(world, UNDISTURBED_S)
    calm = sorted(sight.held_back_s for sight in world.watch.sights(from_s))
    say(f"undisturbed: {len(calm)} responses, the longest was held back for {calm[-1]:.3f} s")
    rounds: list[Round] = []
    for number in range(KILLS):
        rounds.append(_kill(world, world.fleet.seats[number % world.progress.workers]))
        say(_round_line(rounds[-1]))
    stops: list[StopRound] = []
    for number in range(STOPS):
        stops.append(_stop(world, world.fleet.seats[number % world.progress.workers]))
        say(_stop_line(stops[-1]))
    world.load.stop()
    world.fleet.end()
    return Recovery(
        seed=world.progress.seed,
        rounds=tuple(rounds),
        stops=tuple(stops),
        undisturbed_s=calm[-1],
        undisturbed_99_s=calm[int(len(calm) * 0.99)],
        undisturbed_count=len(calm),
    )


def _pass(world: World, seconds: float) -> None:
    world.wait(lambda: False, seconds)


def _settle(world: World) -> None:
    """Wait until every partition delivers and was seen to, undisturbed. Raises TimeoutError."""
    _pass(world, BEFORE_S)
    count = world.topics.partitions

    def is_steady() -> bool:
        return len({sight.partition for sight in world.watch.sights(time.time() - BEFORE_S)}) == count

    if not world.wait(is_steady, ROUND_S):
        raise TimeoutError(f"not all of {count} partitions deliver within {ROUND_S:g} s")


def _kill(world: World, seat: Seat) -> Round:
    _settle(world)
    killed_s = time.time()
    before = world.watch.sights(killed_s - BEFORE_S)
    own = {sight.partition for sight in before if sight.incarnation == seat.incarnation}
    others = {sight.partition for sight in before} - own
    world.fleet.kill(seat)
    successor = seat.incarnation

    def came_back() -> dict[int, float]:
        return _first_seen(sight for sight in world.watch.sights(killed_s) if sight.incarnation == successor)

    is_back = world.wait(lambda: own <= came_back().keys(), ROUND_S)
    back_s = max((came_back()[partition] for partition in own), default=killed_s) if is_back else time.time()
    _pass(world, AFTER_S)
    around = [sight for sight in world.watch.sights(killed_s - BEFORE_S) if sight.partition in others]
    return Round(
        slot=seat.name,
        partitions=tuple(sorted(own)),
        recovery_s=back_s - killed_s if is_back else None,
        worked_pause_s=_longest_pause(((sight.partition, sight.appended_s) for sight in around), killed_s, back_s),
        seen_pause_s=_longest_pause(((sight.partition, sight.seen_s) for sight in around), killed_s, back_s),
        held_back_s=_longest_held(world.watch.sights(killed_s)),
    )


def _stop(world: World, seat: Seat) -> StopRound:
    """Stop the worker while it has a transaction open, if that can be caught, until long past its time-outs."""
    _settle(world)
    chance = random.Random(world.progress.seed)
    is_open = False
    for _ in range(CAUGHT_TRIES_MAX):
        world.fleet.stop(seat, ROUND_S)
        is_open = world.is_transaction_open()
        if is_open:
            break
        world.fleet.resume(seat)
        _pass(world, chance.uniform(*BETWEEN_TRIES_S))
    if not is_open:
        world.fleet.stop(seat, ROUND_S)
    stopped_s = time.time()
    stopped_for_s = world.kafka.transaction_timeout_ms / 1000 + 5
    _pass(world, stopped_for_s)
    world.fleet.resume(seat)
    _pass(world, BEFORE_S + AFTER_S)
    held_back_s = _longest_held(world.watch.sights(stopped_s))
    return StopRound(slot=seat.name, is_open=is_open, stopped_s=stopped_for_s, held_back_s=held_back_s)


def _first_seen(sights: Iterable[Sight]) -> dict[int, float]:
    found: dict[int, float] = {}
    for sight in sights:
        found.setdefault(sight.partition, sight.seen_s)
    return found


def _longest_pause(moments: Iterable[tuple[int, float]], from_s: float, until_s: float) -> float:
    """The longest time without a moment in any one partition, of pauses that touch the time between; 0: none does."""
    by_partition: dict[int, list[float]] = defaultdict(list)
    for partition, moment_s in moments:
        by_partition[partition].append(moment_s)
    longest_s = 0.0
    for times in by_partition.values():
        times.sort()
        pauses = [b - a for a, b in pairwise(times) if a <= until_s and b >= from_s]
        longest_s = max(longest_s, *pauses, 0.0)
    return longest_s


def _longest_held(sights: Sequence[Sight]) -> float:
    return max((sight.held_back_s for sight in sights), default=0.0)


def _round_line(one: Round) -> str:
    came = f"{one.recovery_s:6.2f} s" if one.recovery_s is not None else "never   "
    pauses = f"{one.worked_pause_s:8.2f} s{one.seen_pause_s:8.2f} s{one.held_back_s:8.2f} s"
    return f"kill -9 {one.slot:8}{one.partitions!s:14}{came}{pauses}"


def _stop_line(one: StopRound) -> str:
    how = "transaction open" if one.is_open else "no transaction"
    return f"SIGSTOP {one.slot:8}{how:18}{one.stopped_s:6.1f} s, readers held back {one.held_back_s:6.2f} s"


def _table(found: Recovery) -> list[str]:
    worked_s, seen_s = (max(getattr(one, name) for one in found.rounds) for name in ("worked_pause_s", "seen_pause_s"))
    shares = (
        f"{found.undisturbed_99_s:.3f} s for 99 % of {found.undisturbed_count}, {found.undisturbed_s:.3f} s longest"
    )
    return [
        "",
        f"{'fault':8}{'slot':8}{'partitions':14}{'recovery':>8}{'others worked':>15}{'seen':>7}{'held back':>12}",
        *(_round_line(one) for one in found.rounds),
        *(_stop_line(one) for one in found.stops),
        "",
        f"recovery, median of {len(found.rounds)}: {found.recovery_s:.2f} s (at most {RECOVERY_MAX_S:g} s)",
        f"longest pause of the others: {worked_s:.2f} s worked (at most {PAUSE_MAX_S:g} s), {seen_s:.2f} s seen",
        f"readers held back without faults: {shares} (at most {UNDISTURBED_MAX_S:g} s)",
    ]
