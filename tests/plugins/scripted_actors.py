"""Stage actors and ingress actors that misbehave as told, on real Ray.

Their classes are sent to Ray's workers by name, so this module does nothing but define them.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray

from tests.plugins.policy_witness import WitnessStage
from topology.contract.drafts import CheckReport
from topology.ports import CheckInput, Stage
from workers.settings import Settings
from workers.stream.loop import LoopState
from workers.supervision.actors import IngressHealth, StageHost
from workers.supervision.node_state import WorkerHealth

STUCK_S = 60.0
SLOW_START_S = 1.0


class SlowStage:
    """A stage that sleeps before each batch."""

    def __init__(self, stage: Stage, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds
        self.name = stage.name
        self.version = stage.version

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        time.sleep(self._seconds)
        return self._stage.run(batch)


class SlowHost(StageHost):
    """One replica of a slow stage."""

    def __init__(self, settings: Settings, name: str, seconds: float = STUCK_S) -> None:
        super().__init__(settings, name)
        self._stage = SlowStage(self._stage, seconds)


class SlowStartHost(StageHost):
    """A replica that takes its time to start."""

    def __init__(self, settings: Settings, name: str) -> None:
        time.sleep(SLOW_START_S)
        super().__init__(settings, name)


class GarbageHost(StageHost):
    """A replica whose answers are no reports."""

    def run(self, batch: bytes, policies: bytes = b"") -> bytes:
        del policies
        return batch[:1]


class WitnessHost(StageHost):
    """One replica of a classification that reports under which policy it was asked."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(settings, name)
        self._stage = WitnessStage()


class WorkingIngress:
    """A worker that works until it is drained, and counts its runs."""

    def __init__(self, settings: Settings, slot: int, stage_actors: dict[str, list[str]]) -> None:
        self._slot = slot
        self._stage_actors = stage_actors
        self._is_drained = threading.Event()
        self._is_running = False
        self._run_count = 0

    def run(self) -> int:
        self._run_count += 1
        self._is_running = True
        self._is_drained.wait(STUCK_S)
        return self._run_count

    @ray.method(concurrency_group="control")
    def health(self) -> IngressHealth:
        loop = WorkerHealth(
            state=LoopState.RUNNING,
            poll_age_s=0.0,
            held_count=0,
            ready_count=0,
            committed_count=0,
            paused=False,
            assigned=True,
        )
        return IngressHealth(pid=os.getpid(), slot=self._slot, loop=loop if self._is_running else None)

    @ray.method(concurrency_group="control")
    def drain(self, timeout_s: float) -> None:
        self._is_drained.set()

    @ray.method(concurrency_group="control")
    def run_count(self) -> int:
        return self._run_count

    @ray.method(concurrency_group="control")
    def pools(self) -> dict[str, list[str]]:
        return self._stage_actors


class FailingIngress(WorkingIngress):
    """A worker whose every run ends at once in an error."""

    def run(self) -> int:
        self._run_count += 1
        raise ConnectionError(f"run {self._run_count}")


class LateFailingIngress(WorkingIngress):
    """A worker whose every run works until it is told to drain, and then fails."""

    def run(self) -> int:
        self._is_drained.clear()
        super().run()
        self._is_running = False
        raise ConnectionError(f"run {self._run_count}")


_remote: Any = ray.remote
_as_stage = _remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"control": 2})

SlowActor: Any = _as_stage(SlowHost)
GarbageActor: Any = _as_stage(GarbageHost)
SlowStartActor: Any = _as_stage(SlowStartHost)
WitnessActor: Any = _as_stage(WitnessHost)

_as_ingress = _remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"control": 4})

WorkingActor: Any = _as_ingress(WorkingIngress)
FailingActor: Any = _as_ingress(FailingIngress)
LateFailingActor: Any = _as_ingress(LateFailingIngress)
