"""The worker processes: one for every slot of every generation, started again whenever it ends, unless retired."""

import itertools
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.chaos.worker import EXIT_FENCED, Task
from tests.checkout import ROOT
from tests.plugins.processes import children_of
from workers.kafka.errors import KafkaRefused, KafkaUnavailable
from workers.kafka.groups import leave_group
from workers.kafka.sink_process import CHILD_MODULE
from workers.process.child import KeptProcess
from workers.process.exit_codes import ExitCode

RESTART_PAUSE_S = 0.5
"""Before a worker that ended by itself is started again."""

GIVEN_UP_SHARE = 0.7
"""Of the session: a worker that is stopped for longer may be given up; the last heartbeat was some time before."""

DRAIN_MAX_S = 120.0
"""Longest drain: finishing, committing and closing, with a broker that was away meanwhile, on a busy machine."""


def has_producer_process(slot: int) -> bool:
    """Every other slot's producer has a process of its own."""
    return slot % 2 == 1


class Drained(Struct, frozen=True, kw_only=True):
    """A process that ended on SIGTERM, and when (Unix time).

    `was_given_up`: the group or the broker had reason to take its work from it before. A member that comes back under
    another id drops what it holds (K7, docs/kafka.md), so what it had finished is done again.
    """

    incarnation: int
    exit_code: int
    ended_s: float
    was_given_up: bool = False


class Returned(Struct, frozen=True, kw_only=True):
    """A process that went on after it had stood still for so long that the group may have given it up (Unix time).

    Until it learns that, it works on what it held. Others may have done that already; nothing of it is published.
    """

    incarnation: int
    resumed_s: float


@dataclass(slots=True)
class Seat:
    """A slot and who holds it. Monotonic times say what is due; None: nothing is."""

    cluster: str
    slot: int
    process: KeptProcess
    incarnation: int
    resume_s: float | None = None
    start_s: float | None = None
    drain_until_s: float | None = None
    stopped_past_session: bool = False
    """Whether the stop that it is in, or was in last, may have cost it its membership."""
    may_be_fenced: bool = False
    """Whether the broker may have given up the process that runs now: it was stopped, or the broker was long away."""
    is_killed: bool = False
    is_noted: bool = False
    """Whether the end of the process is counted."""
    is_retired: bool = False
    """Whether the slot stays empty for good once its process ends."""

    @property
    def name(self) -> str:
        """Cluster and slot."""
        return f"{self.cluster}.{self.slot}"

    @property
    def is_well(self) -> bool:
        """Whether it runs undisturbed."""
        is_due = self.resume_s is not None or self.start_s is not None or self.drain_until_s is not None
        return not is_due and self.process.exit_code is None


@dataclass(slots=True)
class Exits:
    """How processes ended."""

    counts: Counter[str] = field(default_factory=Counter[str])
    drained: list[Drained] = field(default_factory=list[Drained])
    returned: list[Returned] = field(default_factory=list[Returned])
    bad_drains: list[str] = field(default_factory=list[str])
    fenced: list[str] = field(default_factory=list[str])
    """Processes that lost their slot although the broker had no reason to give them up."""


class Fleet:
    """All workers. Their tasks differ from `task` in cluster, slot and incarnation. All calls on one thread."""

    def __init__(self, task: Task, logs: Path, *, is_stormy: bool = False) -> None:
        """`is_stormy`: a request that comes late may fence the present holder of its slot at any time."""
        self._task = task
        self._is_stormy = is_stormy
        self._logs = logs
        self._seats: list[Seat] = []
        self._incarnations = itertools.count(task.incarnation)
        self.exits = Exits()

    @property
    def seats(self) -> Sequence[Seat]:
        """Those that are held or will be again."""
        return self._seats

    def clusters(self) -> list[str]:
        """Generations that are not being retired, the oldest first."""
        return list(dict.fromkeys(seat.cluster for seat in self._seats if not seat.is_retired))

    def add(self, cluster: str, slots: int) -> None:
        """Start a generation."""
        for slot in range(slots):
            self._seats.append(Seat(cluster, slot, *self._start(cluster, slot)))

    def step(self) -> None:
        """Do what is due: resume, start again, kill what does not drain. Call it several times a second."""
        now_s = time.monotonic()
        for seat in list(self._seats):
            if seat.resume_s is not None and now_s >= seat.resume_s:
                self.resume(seat)
            if seat.process.exit_code is not None:
                self._ended(seat, now_s)
            elif seat.drain_until_s is not None and now_s >= seat.drain_until_s:
                self.exits.bad_drains.append(f"{seat.name}: not drained in {DRAIN_MAX_S:g} s")
                seat.process.kill()
                seat.drain_until_s = None
                seat.is_killed = True

    def kill(self, seat: Seat, away_s: float = 0.0) -> None:
        """kill -9; another process takes the slot after `away_s`."""
        seat.is_killed = True
        seat.resume_s = seat.drain_until_s = None
        seat.process.kill()
        seat.start_s = time.monotonic() + away_s
        self.step()

    def producer_of(self, seat: Seat) -> int | None:
        """The process of its own that the worker's producer has; None where it has none, or none yet."""
        return next(iter(children_of(seat.process.pid, CHILD_MODULE)), None)

    def kill_producer(self, seat: Seat) -> None:
        """kill -9 of the producer's process; the worker ends itself."""
        producer = self.producer_of(seat)
        assert producer is not None
        os.kill(producer, signal.SIGKILL)

    def stop(self, seat: Seat, lasts_s: float) -> None:
        """SIGSTOP, and SIGCONT after `lasts_s`: of all that the slot runs, as when its machine stands still."""
        self._send(seat, signal.SIGSTOP)
        seat.stopped_past_session = lasts_s > self._task.session_s * GIVEN_UP_SHARE
        seat.may_be_fenced |= seat.stopped_past_session
        seat.resume_s = time.monotonic() + lasts_s

    def note_outage(self) -> None:
        """The broker was away for so long that it aborts what was open, which fences the one who opened it."""
        for seat in self._seats:
            seat.may_be_fenced = True

    def resume(self, seat: Seat) -> None:
        """SIGCONT."""
        self._send(seat, signal.SIGCONT)
        if seat.resume_s is not None and seat.stopped_past_session:
            self.exits.returned.append(Returned(incarnation=seat.incarnation, resumed_s=time.time()))
        seat.resume_s = None

    def drain(self, seat: Seat) -> None:
        """SIGTERM; another process takes the slot once it has ended, unless it is retired."""
        self.resume(seat)
        seat.process.send(signal.SIGTERM)
        seat.drain_until_s = time.monotonic() + DRAIN_MAX_S

    def retire(self, cluster: str) -> None:
        """Drain a generation for good; once its processes have ended its members leave the group."""
        for seat in self._seats:
            if seat.cluster == cluster:
                seat.is_retired = True
                if seat.process.exit_code is None and seat.drain_until_s is None:
                    self.drain(seat)

    def is_draining(self) -> bool:
        """Whether some process has been asked to end and has not."""
        return any(seat.drain_until_s is not None for seat in self._seats)

    def end(self) -> None:
        """Drain everything, for good; returns once all have ended."""
        for cluster in self.clusters():
            self.retire(cluster)
        while self._seats:  # every drain has a bound
            self.step()
            time.sleep(0.05)

    def kill_all(self) -> None:
        """End every process at once."""
        for seat in self._seats:
            seat.process.kill()
        self._seats.clear()

    def _ended(self, seat: Seat, now_s: float) -> None:
        if not seat.is_noted:
            self._note_exit(seat)
            pause_s = 0.0 if seat.drain_until_s is not None else RESTART_PAUSE_S
            seat.start_s = now_s + pause_s if seat.start_s is None else seat.start_s
            seat.resume_s = seat.drain_until_s = None
            seat.is_noted = True
        if seat.is_retired:
            self._leave(seat)
        elif seat.start_s is not None and now_s >= seat.start_s:
            seat.process, seat.incarnation = self._start(seat.cluster, seat.slot)
            seat.start_s = None
            seat.is_noted = seat.is_killed = seat.may_be_fenced = False

    def _note_exit(self, seat: Seat) -> None:
        code, name = seat.process.exit_code, f"{seat.name} incarnation {seat.incarnation}"
        assert code is not None
        may_be_fenced = seat.may_be_fenced or self._is_stormy
        is_excused = code == EXIT_FENCED and may_be_fenced
        if seat.is_killed:
            kind = "killed"
        elif is_excused:
            kind = "given up by the broker"
        elif seat.drain_until_s is not None:
            kind = "drained before they began" if code == -signal.SIGTERM else f"drained, exit {code}"
            drained = Drained(
                incarnation=seat.incarnation, exit_code=code, ended_s=time.time(), was_given_up=may_be_fenced
            )
            self.exits.drained.append(drained)
            if code not in {0, -signal.SIGTERM}:  # Python had not come to the handler
                self.exits.bad_drains.append(f"{name}: exit {code}")
        elif code == EXIT_FENCED:
            kind = "fenced"
            self.exits.fenced.append(name)
        else:
            kind = "outcome unknown" if code == ExitCode.OUTCOME_UNKNOWN else f"exit {code}"
        self.exits.counts[kind] += 1

    def _send(self, seat: Seat, number: signal.Signals) -> None:
        seat.process.send(number)
        if (producer := self.producer_of(seat)) is not None:
            with suppress(ProcessLookupError):
                os.kill(producer, number)

    def _leave(self, seat: Seat) -> None:
        """Give the slot's membership up."""
        self._seats.remove(seat)
        try:
            leave_group(replace(self._task, cluster=seat.cluster).kafka(), [seat.slot])
        except (KafkaRefused, KafkaUnavailable):
            # Its session has run out already, or the broker is away: then the session will.
            self.exits.counts["left by session"] += 1

    def _start(self, cluster: str, slot: int) -> tuple[KeptProcess, int]:
        task = replace(
            self._task,
            cluster=cluster,
            slot=slot,
            incarnation=next(self._incarnations),
            producer_process=has_producer_process(slot),
        )
        command = [sys.executable, "-m", "tests.chaos.worker", msgspec.json.encode(task).decode()]
        return KeptProcess(command, log=self._logs / f"{cluster}-{slot}.log", directory=ROOT), task.incarnation
