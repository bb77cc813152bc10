"""What goes wrong, where, and how often each of it did."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum


class Fault(StrEnum):
    """One thing that goes wrong."""

    CRASH = "crash"
    """kill -9; the slot comes back."""
    FREEZE = "freeze"
    """SIGSTOP, mostly for longer than the session, and SIGCONT."""
    KICK = "kick"
    """The coordinator forgets the member."""
    STALE_IDENTITY = "stale_identity"
    """The client gives its membership up without a word (K5)."""
    SECOND_HOLDER = "second_holder"
    """Another process starts with the same slot."""
    REBALANCE = "rebalance"
    MISSED_GENERATION = "missed_generation"
    """A generation passes in which a member that was not there owns nothing; with the next it gets back what it had,
    and often another rebalance before it knows where to read."""
    REJOIN = "rejoin"
    """The client joins again although nothing changed."""
    LEAVE = "leave"
    """A drain for good; the slot joins again later."""
    JOIN = "join"
    """One more slot, for a while."""
    DRAIN = "drain"
    """A drain, and a restart."""
    BROKER_RESTART = "broker_restart"
    SLOW = "slow"
    """One answer takes long."""
    SLOW_MARKERS = "slow_markers"
    """Transactions take long between their end and being visible."""
    COMPACTION = "compaction"
    """A record that is not answered yet is compacted away."""
    FOREIGN_MAP = "foreign_map"
    """A committed map becomes unreadable, until somebody repairs it."""
    LOST_ACK = "lost_ack"
    """The broker did it, the answer does not come."""
    EXPIRY = "expiry"
    """Records are given up (K1)."""
    LATE_COPY = "late_copy"
    """A request's connection is cut; the client sends it again, and its first copy reaches the broker later (K17)."""
    DOUBLED = "doubled"
    """A request reaches the broker, and its connection is cut before the answer comes: the client sends it again."""
    LATE_ROUND = "late_round"
    """A round is over, and before that is noted its partitions move away and come back."""
    EPOCH_BUMP = "epoch_bump"
    """The producer is renewed while it commits (K3)."""
    COMMIT_ANSWER_LOST = "commit_answer_lost"
    """The broker committed; the client waits for ever (K4)."""
    COMMIT_HANGS = "commit_hangs"
    """The broker hears of it late; the client waits for ever (K4)."""


POINTS = (
    "connect",
    "poll",
    "fetched",
    "join",
    "sync",
    "joined",
    "revoke",
    "committed",
    "committed_answer",
    "init",
    "init_answer",
    "taken",
    "flush",
    "send",
    "flush_answer",
    "offsets",
    "offsets_answer",
    "commit",
    "commit_answer",
    "ended",
    "finish",
)
"""Where another may go on, and something may go wrong: before and after each effect on the broker, when a round is
taken and before its end is noted, when something finishes."""

OF_CALLS = {
    Fault.LOST_ACK: ("join", "sync", "committed", "init", "flush", "offsets"),
    Fault.EXPIRY: ("flush",),
    Fault.LATE_COPY: ("join", "sync", "init", "flush", "offsets", "commit"),
    Fault.DOUBLED: ("join", "sync", "init", "flush", "offsets", "commit"),
    Fault.LATE_ROUND: ("commit_answer", "ended"),
    Fault.EPOCH_BUMP: ("commit",),
    Fault.COMMIT_ANSWER_LOST: ("commit",),
    Fault.COMMIT_HANGS: ("commit",),
}
"""Those that are an answer to a certain call, which deals with them."""

OF_PROCESSES = tuple(fault for fault in Fault if fault not in OF_CALLS)

ALWAYS = 11
"""Faults of processes in each run; they find a place everywhere."""
MORE = 5
PATIENCE_S = 0.6
"""A fault that waits so long for its point happens at the next one where it can."""


class Planned:
    """A fault that waits for its moment: not before `at_s`, at `point`."""

    __slots__ = ("at_s", "fault", "point")

    def __init__(self, at_s: float, fault: Fault, point: str) -> None:
        self.at_s = at_s
        self.fault = fault
        self.point = point


class Schedule:
    """The faults of a run, in the order of time. Those in `of_calls` happen only at the points named there."""

    def __init__(self, planned: list[Planned], of_calls: Mapping[Fault, Sequence[str]]) -> None:
        self.planned = planned
        self._of_calls = of_calls

    def due(self, point: str, now_s: float) -> Fault | None:
        """Return and forget the fault that waits for this point."""
        planned = self.planned
        if not planned or planned[0].at_s > now_s:
            return None
        for at, each in enumerate(planned):
            if each.at_s > now_s:
                return None
            points = self._of_calls.get(each.fault)
            is_late = now_s - each.at_s > PATIENCE_S
            if each.point == point or (is_late and (points is None or point in points)):
                del planned[at]
                return each.fault
        return None


class Counts:
    """What happened in one or many runs."""

    def __init__(self) -> None:
        self.faults: Counter[tuple[str, str]] = Counter()
        """By fault and point."""
        self.passed: Counter[str] = Counter()
        """How often each point was passed."""
        self.runs = self.events = self.steps = 0
        self.unstable = self.poll_gaps = self.restarts = self.rebalances = self.aborted = self.dead_results = 0

    def add(self, other: "Counts") -> None:
        self.faults.update(other.faults)
        self.passed.update(other.passed)
        for name in ("runs", "events", "steps", *OTHERS):
            setattr(self, name, getattr(self, name) + getattr(other, name))


OTHERS = ("unstable", "poll_gaps", "restarts", "rebalances", "aborted", "dead_results")


def plan(rng: random.Random, from_s: float, until_s: float) -> list[Planned]:
    """The faults of a run, in the order of time."""
    kinds: list[Fault] = [rng.choice(OF_PROCESSES) for _ in range(ALWAYS)]
    kinds += [rng.choice(tuple(OF_CALLS)) for _ in range(MORE)]
    planned = [Planned(rng.uniform(from_s, until_s), kind, rng.choice(OF_CALLS.get(kind, POINTS))) for kind in kinds]
    return sorted(planned, key=lambda each: each.at_s)
