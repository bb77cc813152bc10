"""Which faults the Ray form gets, in which order, and how each is done: SIGKILL or SIGSTOP to one process."""

import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

import psutil

from tests.chaos.ray_parts import (
    ENGINE,
    INGRESS,
    LLM_INGRESS,
    LLM_REPLICA,
    STAGE,
    Descendants,
    ModelProbe,
    SupervisorProcess,
    lives,
    send,
)


class RayFault(StrEnum):
    """What is killed, or frozen."""

    STREAM_ACTOR = "stream actor"
    STAGE_ACTOR = "stage actor"
    FROZEN_STAGE = "frozen stage actor"
    """Stopped, not killed: the supervisor has to find out and replace it."""

    SUPERVISOR = "supervisor"
    SERVE_REPLICA = "Serve replica"
    SERVE_INGRESS = "Serve ingress"
    ENGINE = "vLLM engine"


TITLES = {
    RayFault.STREAM_ACTOR: INGRESS,
    RayFault.STAGE_ACTOR: STAGE,
    RayFault.FROZEN_STAGE: STAGE,
    RayFault.SERVE_REPLICA: LLM_REPLICA,
    RayFault.SERVE_INGRESS: LLM_INGRESS,
    RayFault.ENGINE: ENGINE,
}

MODEL_FAULTS = (RayFault.ENGINE, RayFault.SERVE_REPLICA, RayFault.SERVE_INGRESS)
MODEL_FAULT_EVERY = 11
"""One fault in so many: a model that was killed is away for up to a minute, and should be there now and then."""

MODEL_REST_S = 10.0
"""How long the model may work before it is killed again."""

OWN_ANSWER_S = 3.0
"""An answer that comes so long after a start is no longer one of the workers before it."""

SUPERVISOR_REST_S = 60.0
"""A supervisor whose workers have answered since its start may be killed again, any other one after this."""

WORKER_FAULTS = (RayFault.STREAM_ACTOR, RayFault.STAGE_ACTOR, RayFault.SUPERVISOR)
WORKER_WEIGHTS = (4, 3, 3)
FREEZE_EVERY = 30
"""One fault in so many: until a frozen actor is replaced, every batch that it was given is withheld."""

ORPHAN_S = 60.0
"""Longest time that actors may outlive their supervisor."""


def fault_plan(count: int, seed: int, *, with_model: bool) -> list[RayFault]:
    """`count` faults in a random order that has every kind in it, as far as `count` goes."""
    draw = random.Random(seed)
    models = count // MODEL_FAULT_EVERY if with_model else 0
    freezes = [RayFault.FROZEN_STAGE] * (count // FREEZE_EVERY)
    workers = [*WORKER_FAULTS, *freezes, *draw.choices(WORKER_FAULTS, WORKER_WEIGHTS, k=count)][: count - models]
    draw.shuffle(workers)
    plan = list(workers)
    for index in range(models):
        plan.insert((index + 1) * MODEL_FAULT_EVERY - 1, MODEL_FAULTS[index % len(MODEL_FAULTS)])
    return plan


class FaultMaker:
    """Does the plan's faults one by one. One whose victim is not there waits, and later ones go first.

    Those of the model never go first: it needs the time between them.
    """

    def __init__(
        self,
        plan: list[RayFault],
        seed: int,
        supervisor: SupervisorProcess,
        processes: Descendants,
        probe: ModelProbe | None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = deque(plan)
        self._draw = random.Random(seed)
        self._supervisor = supervisor
        self._processes = processes
        self._probe = probe
        self._now_s = monotonic_s
        self._orphans: list[psutil.Process] = []
        self._orphaned_s = 0.0
        self.last_answer_s = 0.0
        """When an answer was last seen; told by who looks."""
        self.done: Counter[RayFault] = Counter()
        self.orphan_s = 0.0
        """The longest time that an actor outlived its supervisor."""

    @property
    def left_count(self) -> int:
        """Faults still to come."""
        return len(self._plan)

    def make_one(self) -> str:
        """Do the first fault whose victim is there; what was done, or nothing where no victim is there now."""
        self._processes.note()
        for fault in dict.fromkeys(self._plan):
            is_early = fault in MODEL_FAULTS and fault is not self._plan[0]  # they keep their distance
            if not is_early and (pid := self._kill(fault)):
                self._plan.remove(fault)
                self.done[fault] += 1
                return f"{fault.value} (process {pid})"
        return ""

    def watch_orphans(self) -> None:
        """See whether the actors of the last supervisor that was killed are gone."""
        self._orphans = [process for process in self._orphans if lives(process)]
        if self._orphans:
            self.orphan_s = max(self.orphan_s, self._now_s() - self._orphaned_s)

    def _kill(self, fault: RayFault) -> int:
        """The process that was killed; 0 where there is none to kill."""
        if fault is RayFault.SUPERVISOR:
            return self._restart_supervisor()
        if fault in MODEL_FAULTS and (self._probe is None or self._probe.up_s() < MODEL_REST_S):
            return 0
        victims: list[psutil.Process] = self._processes.running(TITLES[fault])
        if not victims:
            return 0
        victim = self._draw.choice(victims)
        number = signal.SIGSTOP if fault is RayFault.FROZEN_STAGE else signal.SIGKILL
        return victim.pid if send(victim, number) else 0

    def _restart_supervisor(self) -> int:
        started_s = self._supervisor.started_s
        has_answered = self.last_answer_s > started_s + OWN_ANSWER_S
        is_rested = has_answered or self._now_s() - started_s >= SUPERVISOR_REST_S
        if not is_rested or self._supervisor.exit_code is not None:
            return 0
        pid = self._supervisor.pid
        self._supervisor.kill()
        self._orphaned_s = self._now_s()
        self._orphans += [*self._processes.running(INGRESS), *self._processes.running(STAGE)]
        self._supervisor.start()
        return pid
