"""Which fault comes next: the plan is a function of seed and number, so that a run can go on where it ended."""

import random
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class FaultKind(StrEnum):
    """What is done to the system."""

    KILL = "kill -9"
    """Of a worker, which is started again at once."""

    ABSENCE = "kill -9, away past the session"
    """The slot stays empty until the group has given its partitions away, then comes back."""

    PRODUCER = "kill -9 of a producer"
    """Of the process of its own that a worker's producer may have; the worker ends itself and is started again."""

    STOP = "SIGSTOP past the session"
    HICCUP = "SIGSTOP within the session"
    DRAIN = "SIGTERM"
    BROKER = "broker SIGKILL"
    FREEZE = "broker SIGSTOP"
    """Connections stay open, and nothing is answered."""

    PARTITIONS = "a partition more"
    GENERATION = "second generation"
    """Workers under another cluster name beside the first; then one of the two is drained for good."""


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. `wait_s` is the time since the one before; `lasts_s` how long a process is stopped or away."""

    number: int
    kind: FaultKind
    slot: int
    wait_s: float
    lasts_s: float


WEIGHTS: Mapping[FaultKind, float] = {
    FaultKind.KILL: 32,
    FaultKind.ABSENCE: 6,
    FaultKind.PRODUCER: 6,
    FaultKind.STOP: 14,
    FaultKind.HICCUP: 6,
    FaultKind.DRAIN: 20,
    FaultKind.BROKER: 10,
    FaultKind.FREEZE: 8,
    FaultKind.PARTITIONS: 2,
    FaultKind.GENERATION: 4,
}

FREEZE_S = (5.0, 40.0)
SHORT_FREEZE_S = (5.0, 7.0)

SHORT_ORDER = (
    FaultKind.KILL,
    FaultKind.DRAIN,
    FaultKind.STOP,
    FaultKind.KILL,
    FaultKind.BROKER,
    FaultKind.PRODUCER,
    FaultKind.GENERATION,
    FaultKind.HICCUP,
    FaultKind.KILL,
    FaultKind.PARTITIONS,
    FaultKind.FREEZE,
    FaultKind.DRAIN,
)
"""The short form's faults: every kind but the longest, in an order in which each has work under way to disturb."""


def plan_fault(
    seed: int,
    number: int,
    *,
    slots: int,
    session_s: float,
    wait_s: tuple[float, float],
    weights: Mapping[FaultKind, float] = WEIGHTS,
) -> Fault:
    """The fault of this number, counted from 0; `wait_s` bounds the time between two."""
    chance = random.Random(f"{seed}-{number}")
    kind = chance.choices(list(weights), list(weights.values()))[0]
    return _fault(chance, number, kind, slots, session_s, wait_s)


def plan_short(seed: int, *, slots: int, session_s: float, wait_s: tuple[float, float]) -> list[Fault]:
    """The short form's faults, of which the seed gives slots and times."""
    chance = random.Random(f"{seed}-short")
    freeze_s = SHORT_FREEZE_S
    return [_fault(chance, number, kind, slots, session_s, wait_s, freeze_s) for number, kind in enumerate(SHORT_ORDER)]


def _fault(
    chance: random.Random,
    number: int,
    kind: FaultKind,
    slots: int,
    session_s: float,
    wait_s: tuple[float, float],
    freeze_s: tuple[float, float] = FREEZE_S,
) -> Fault:
    match kind:
        case FaultKind.STOP | FaultKind.ABSENCE:
            lasts_s = session_s * chance.uniform(1.15, 1.6)
        case FaultKind.HICCUP:
            lasts_s = session_s * chance.uniform(0.1, 0.5)
        case FaultKind.BROKER:
            lasts_s = chance.uniform(0.1, 2.0)
        case FaultKind.FREEZE:
            lasts_s = chance.uniform(*freeze_s)
        case FaultKind.GENERATION:
            lasts_s = chance.uniform(6, 12)
        case _:
            lasts_s = 0.0
    return Fault(
        number=number, kind=kind, slot=chance.randrange(slots), wait_s=chance.uniform(*wait_s), lasts_s=lasts_s
    )
