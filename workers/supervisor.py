"""Starts the actors of one process, watches them, replaces what is broken, and drains.

One plain object with three verbs: `start`, `step` (called every `health_interval_s`) and `drain`. An actor that dies
is restarted by Ray and put to work again here; one that no longer answers, no longer polls, or is stuck in a batch is
killed first. A worker whose run ends in an error again and again makes `step` raise: better no process than a loop of
restarts.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from msgspec import Struct
from ray.exceptions import RayError

from topology.instruments import Instruments
from topology.metrics import Metric
from workers.actors import IngressActor, StageActor
from workers.assembly import stage_settings
from workers.settings import Settings

logger = logging.getLogger("sluicegate.supervisor")

HEALTHY_RUN_S = 30.0
"""A run that lasted this long counts as good: the next failure starts counting from zero."""

KILL_WAIT_S = 5.0
"""How long after a drain's own bound an actor may take to end before it is killed."""


class SupervisorError(Exception):
    """A worker that does not come up. `args` is (slot, number of failed runs, last error's type and text)."""


class ActorStatus(Struct, frozen=True, kw_only=True):
    """What the supervisor knows of one actor."""

    name: str
    role: str
    pid: int | None
    restart_count: int
    is_healthy: bool


@dataclass(slots=True)
class _Actor:
    name: str
    role: str
    handle: Any
    ping: Any = None
    ping_since_s: float = 0.0
    missed: int = 0
    pid: int | None = None
    restart_count: int = 0


@dataclass(slots=True)
class _Run:
    actor: _Actor
    slot: int
    ref: Any = None
    started_s: float = 0.0
    not_before_s: float = 0.0
    failures: int = 0
    done: bool = False


class Supervisor:
    """Owns one process's stage pools and ingress actors inside a Ray that is already initialised."""

    def __init__(
        self, settings: Settings, metrics: Instruments, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._now_s = monotonic_s
        self._stages: list[_Actor] = []
        self._runs: list[_Run] = []

    def start(self) -> None:
        """Create the stage pools, then one ingress actor per slot, and put them to work."""
        pools: dict[str, list[str]] = {}
        for name, stage in stage_settings(self._settings).items():
            if stage.placement != "actor":
                continue
            for index in range(stage.replicas):
                actor_name = f"stage-{name}-{index}"
                handle = StageActor.options(name=self._scoped(actor_name), num_cpus=0.1).remote(self._settings, name)
                pools.setdefault(name, []).append(self._scoped(actor_name))
                self._stages.append(_Actor(name=actor_name, role="stage", handle=handle))
        first = self._settings.ray.slot_start
        for slot in range(first, first + self._settings.ray.slots):
            name = f"ingress-{slot}"
            handle = IngressActor.options(name=self._scoped(name), num_cpus=0.1).remote(self._settings, slot, pools)
            run = _Run(actor=_Actor(name=name, role="ingress", handle=handle), slot=slot)
            self._runs.append(run)
            self._begin(run)

    def step(self) -> None:
        """One round of watching. Raises SupervisorError when a worker keeps failing."""
        for run in self._runs:
            self._watch_run(run)
        for actor in self._actors():
            self._watch_health(actor)
        for role in ("ingress", "stage"):
            of_role = [actor for actor in self.status() if actor.role == role]
            ready = sum(actor.is_healthy for actor in of_role)
            self._metrics.gauge_set(Metric.ACTORS, ready, role=role, state="ready")
            self._metrics.gauge_set(Metric.ACTORS, len(of_role) - ready, role=role, state="unhealthy")

    def status(self) -> list[ActorStatus]:
        """What is known now, stage actors first."""
        return [
            ActorStatus(
                name=actor.name,
                role=actor.role,
                pid=actor.pid,
                restart_count=actor.restart_count,
                is_healthy=actor.pid is not None and actor.missed == 0,
            )
            for actor in self._actors()
        ]

    def drain(self, timeout_s: float) -> bool:
        """Finish and commit within `timeout_s`, then end every actor. True when every worker ended by itself."""
        for run in self._runs:
            run.actor.handle.drain.remote(timeout_s)
        refs = [run.ref for run in self._runs if run.ref is not None]
        done, late = ray.wait(refs, num_returns=len(refs), timeout=timeout_s + KILL_WAIT_S) if refs else ([], [])
        clean = not late and all(_error_of(ref) is None for ref in done)
        for actor in self._actors():
            ray.kill(actor.handle, no_restart=True)
        self._runs.clear()
        self._stages.clear()
        return clean

    def _actors(self) -> list[_Actor]:
        return [*self._stages, *(run.actor for run in self._runs)]

    def _scoped(self, name: str) -> str:
        return f"{self._settings.kafka.group_id}.{self._settings.kafka.cluster_name}.{name}"

    def _begin(self, run: _Run) -> None:
        run.ref = run.actor.handle.run.remote()
        run.started_s = self._now_s()

    def _watch_run(self, run: _Run) -> None:
        if run.done:
            return
        if run.ref is None:
            if self._now_s() >= run.not_before_s:
                self._begin(run)
            return
        done, _ = ray.wait([run.ref], timeout=0)
        if not done:
            return
        error = _error_of(run.ref)
        if error is None:
            run.done = True
            return
        self._note_failure(run, error)

    def _note_failure(self, run: _Run, error: Exception) -> None:
        lasted_s = self._now_s() - run.started_s
        run.failures = 1 if lasted_s >= HEALTHY_RUN_S else run.failures + 1
        self._count_restart(run.actor)
        run.ref = None
        limits = self._settings.ray
        run.not_before_s = self._now_s() + min(limits.restart_backoff_max_s, 0.25 * 2 ** (run.failures - 1))
        logger.error(
            "worker ended; starting it again",
            extra={"slot": run.slot, "error": type(error).__name__, "failures": run.failures},
        )
        if limits.restarts_max >= 0 and run.failures > limits.restarts_max:
            raise SupervisorError(run.slot, run.failures, f"{type(error).__name__}: {error}") from error

    def _watch_health(self, actor: _Actor) -> None:
        if actor.ping is None:
            actor.ping = actor.handle.health.remote()
            actor.ping_since_s = self._now_s()
            return
        done, _ = ray.wait([actor.ping], timeout=0)
        if done:
            healthy = self._read_ping(actor)
        elif self._now_s() - actor.ping_since_s < self._settings.ray.health_timeout_s:
            return
        else:
            healthy = False
        actor.ping = None
        actor.missed = 0 if healthy else actor.missed + 1
        if actor.missed >= self._settings.ray.unhealthy_after:
            self._replace(actor)

    def _read_ping(self, actor: _Actor) -> bool:
        try:
            health: Any = ray.get(actor.ping)
        except RayError:
            return False
        if actor.pid is not None and actor.pid != health.pid and actor.role == "stage":
            self._count_restart(actor)
        actor.pid = health.pid
        return self._is_alive(actor, health)

    def _is_alive(self, actor: _Actor, health: Any) -> bool:
        if actor.role == "stage":
            stage_name = actor.name.split("-")[1]
            return health.busy_s <= stage_settings(self._settings)[stage_name].timeout_s
        loop = health.loop
        poll_bound_s = self._settings.kafka.max_poll_interval_ms / 1000
        return loop is None or loop.state != "running" or loop.poll_age_s <= poll_bound_s

    def _count_restart(self, actor: _Actor) -> None:
        actor.restart_count += 1
        self._metrics.count(Metric.ACTOR_RESTARTS, role=actor.role)

    def _replace(self, actor: _Actor) -> None:
        logger.error("actor is not healthy; replacing it", extra={"actor": actor.name, "missed": actor.missed})
        actor.missed = 0
        ray.kill(actor.handle, no_restart=False)


def _error_of(ref: Any) -> Exception | None:
    try:
        ray.get(ref)
    except RayError as exc:
        return exc
    return None
