"""Stage actors and ingress actors that misbehave as told, on real Ray.

Their classes are sent to Ray's workers by name, so this module does nothing but define them.
"""

import time
from collections.abc import Sequence
from typing import Any

import ray

from topology.ports import CheckInput, CheckReport, Stage
from workers.actors import StageHost
from workers.settings import Settings


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

    def __init__(self, settings: Settings, name: str, seconds: float) -> None:
        super().__init__(settings, name)
        self._stage = SlowStage(self._stage, seconds)


class GarbageHost(StageHost):
    """A replica whose answers are no reports."""

    def run(self, batch: bytes) -> bytes:
        return batch[:1]


_remote: Any = ray.remote
_as_stage = _remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"control": 2})

SlowActor: Any = _as_stage(SlowHost)
GarbageActor: Any = _as_stage(GarbageHost)
