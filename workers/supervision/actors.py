"""The Ray actors: shells around the loop and the stages, with no logic but starting, watching and stopping.

Health and drain have a concurrency group of their own, so that they are answered while the work blocks. Ray restarts a
killed actor but not its work: the supervisor calls `run` again.
"""

import os
from typing import Any

import ray
from msgspec import Struct

from workers.assembly import Worker, build_worker
from workers.settings import Settings, read_secrets
from workers.stages.building import build_stage, warmed
from workers.stages.calls import StageDesk
from workers.stages.pool import wait_until_warm
from workers.supervision.node_state import WorkerHealth
from workers.telemetry.openmetrics import Family


class StageHealth(Struct, frozen=True, kw_only=True):
    """A stage actor's snapshot. `busy_s` is the time of service of its present draft so far, 0 if it is idle."""

    pid: int
    busy_s: float
    batch_count: int
    node_id: str = ""


class IngressHealth(Struct, frozen=True, kw_only=True):
    """An ingress actor's snapshot. `loop` is None until its run has begun."""

    pid: int
    slot: int
    loop: WorkerHealth | None
    node_id: str = ""


class Ingress:
    """A stream worker: a Kafka group member with its loop. `run` blocks until the worker is drained or fails.

    `stage_actors` holds the actors' names by stage: handles as arguments would tie a restart to the object store.
    """

    def __init__(self, settings: Settings, slot: int, stage_actors: dict[str, list[str]]) -> None:
        read_secrets(settings)
        self._settings = settings
        self._slot = slot
        self._stage_actors = stage_actors
        self._worker: Worker | None = None
        self._drain_timeout_s: float | None = None

    def run(self) -> int:
        """Work until drained. Return how many records were committed. Raises what broke the worker.

        A drained worker stays drained: its node is going away, and Ray starts the actor again on another node.
        """
        if self._drain_timeout_s is not None:
            return 0
        handles = {stage: [ray.get_actor(name) for name in names] for stage, names in self._stage_actors.items()}
        wait_until_warm([handle for pool in handles.values() for handle in pool], self._settings.ray.start_timeout_s)
        worker = build_worker(self._settings, self._slot, handles)
        self._worker = worker
        if self._drain_timeout_s is not None:  # a drain was asked for while the worker was built
            worker.drain(self._drain_timeout_s)
        return worker.run()

    @ray.method(concurrency_group="control")
    def health(self) -> IngressHealth:
        """Return a snapshot, even while `run` blocks."""
        worker = self._worker
        loop = None
        if worker is not None:
            models, troubles = worker.model_health(), worker.troubles()
            loop = WorkerHealth.of(worker.health(), worker.policy_health(), models, troubles)
        return IngressHealth(pid=os.getpid(), slot=self._slot, loop=loop, node_id=_node_id())

    @ray.method(concurrency_group="control")
    def families(self) -> list[Family]:
        """Return this worker's metrics as they stand."""
        return self._worker.families() if self._worker is not None else []

    @ray.method(concurrency_group="control")
    def drain(self, timeout_s: float) -> None:
        """Have `run` end within `timeout_s`. A worker that is still being built is drained as soon as it is there."""
        self._drain_timeout_s = timeout_s
        if self._worker is not None:
            self._worker.drain(timeout_s)


class StageHost:
    """A replica in the pool of a stage."""

    def __init__(self, settings: Settings, name: str) -> None:
        read_secrets(settings)
        self._stage = warmed(build_stage(settings, name))  # until then Ray holds back every other call
        self._desk = StageDesk()

    def run(self, batch: bytes, policies: bytes = b"") -> bytes:
        """See `StageDesk.answer`."""
        return self._desk.answer(self._stage, batch, policies)

    @ray.method(concurrency_group="control")
    def health(self) -> StageHealth:
        """Return a snapshot, even while a batch runs."""
        desk = self._desk
        return StageHealth(pid=os.getpid(), busy_s=desk.busy_s(), batch_count=desk.batch_count, node_id=_node_id())


def _node_id() -> str:
    """Return Ray's id of the node that this actor is on."""
    return ray.get_runtime_context().get_node_id()


_remote: Any = ray.remote  # its overloads do not know concurrency groups

IngressActor: Any = _remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"control": 4})(Ingress)
StageActor: Any = _remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"control": 2})(StageHost)
