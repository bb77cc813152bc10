"""The supervisor: starts the actors of one process, watches them, replaces those that are broken, and drains.

It is one plain object with three verbs: `start`, `step` (called every `health_interval_s`) and `drain`. Ray restarts an
actor that dies, and the supervisor puts it to work again. An actor that no longer answers, no longer polls, or is stuck
in a batch is killed first. If an actor does not come up, or the run of a worker fails again and again, `step` raises:
no process is better than a loop of restarts.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.policy.skew import PolicySkew
from workers.process.clock import backoff_s
from workers.settings import Settings, require_sources
from workers.stages.building import stage_settings
from workers.supervision.actors import IngressActor, StageActor
from workers.supervision.node_agents import Watched, families_of
from workers.supervision.node_state import ActorStatus, NodeState, WorkerHealth
from workers.telemetry.openmetrics import Family

logger = logging.getLogger("sluicegate.supervisor")

HEALTHY_RUN_S = 30.0
"""Time after which a worker counts as good: its next failure is the first of a new count."""

RESTART_PAUSE_S = 0.25
"""Wait before the first restart. It doubles with every further failure, up to `ray.restart_backoff_max_s`."""

ACTOR_CPUS = 0.1
"""CPUs that Ray counts for one actor. The actors mostly wait."""

KILL_WAIT_S = 5.0
"""Time beyond a drain's own bound that an actor may take to end before it is killed."""


class SupervisorError(Exception):
    """An actor that does not come up, or keeps failing. `args` is (its name, failures, last error's type and text)."""


@dataclass(slots=True)
class _Actor:
    name: str
    role: str
    handle: Any
    began_s: float
    """The time at which it was started, or was found to be away."""
    is_up: bool = False
    """Whether it has answered since."""
    working_since_s: float | None = None
    """The time since which its loop runs; None if the loop does not run, or for a stage."""
    ping: Any = None
    ping_since_s: float = 0.0
    missed: int = 0
    pid: int | None = None
    restart_count: int = 0
    loop: WorkerHealth | None = None
    """The health that it reported in its last answer."""
    node_id: str = ""


@dataclass(slots=True)
class _Run:
    actor: _Actor
    slot: int
    ref: Any = None
    was_up: bool = False
    """Whether the actor was seen up since this run was asked for."""
    not_before_s: float = 0.0
    failures: int = 0


class Supervisor:
    """The owner of one process's stage pools and ingress actors. Ray must be initialised.

    Raises SettingsError for a secret that actors could not read for themselves.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Instruments,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        stage_class: Any = StageActor,
        ingress_class: Any = IngressActor,
    ) -> None:
        require_sources(settings)
        self._settings = settings
        self._metrics = metrics
        self._now_s = monotonic_s
        self._stage_class = stage_class
        self._ingress_class = ingress_class
        self._stages: list[_Actor] = []
        self._runs: list[_Run] = []
        self._skew = PolicySkew(settings.policy.reload_interval_s, monotonic_s)
        self._beat_s = monotonic_s()
        self._statuses: tuple[ActorStatus, ...] = ()
        self._is_draining = False

    def start(self) -> None:
        """Create the stage pools, then one ingress actor per slot, and put them to work."""
        pools: dict[str, list[str]] = {}
        for name, stage in stage_settings(self._settings).items():
            if stage.placement != "actor":
                continue
            for index in range(stage.replicas):
                actor_name = f"stage-{name}-{index}"
                pools.setdefault(name, []).append(self._scoped(actor_name))
                self._stages.append(self._create(self._stage_class, actor_name, "stage", name))
        first = self._settings.ray.slot_start
        for slot in range(first, first + self._settings.ray.slots):
            run = _Run(actor=self._create(self._ingress_class, f"ingress-{slot}", "ingress", slot, pools), slot=slot)
            self._runs.append(run)
            self._begin(run)

    def step(self) -> None:
        """Watch every actor once. Raises SupervisorError if an actor does not come up or a worker keeps failing."""
        for run in self._runs:
            self._watch_run(run)
        for actor in self._actors():
            self._watch_health(actor)
        self._skew.note(
            {actor.name: actor.loop.policy.ref for actor in self._actors() if actor.loop and actor.loop.policy}
        )
        for role in ("ingress", "stage"):
            for state in ("starting", "ready", "unhealthy"):
                count = sum(_state(actor) == state for actor in self._actors() if actor.role == role)
                self._metrics.gauge_set(Metric.ACTORS, count, role=role, state=state)
        self._statuses = tuple(self.status())
        self._beat_s = self._now_s()

    def status(self) -> list[ActorStatus]:
        """Return what is known now, stage actors first."""
        return [
            ActorStatus(
                name=actor.name,
                role=actor.role,
                pid=actor.pid,
                restart_count=actor.restart_count,
                state=_state(actor),
                loop=actor.loop,
            )
            for actor in self._actors()
        ]

    def placed(self) -> list[tuple[str, Watched]]:
        """Return which actor is on which node, as far as the actors have said."""
        return [
            (actor.node_id, Watched(actor=self._scoped(actor.name), name=actor.name, role=actor.role))
            for actor in self._actors()
            if actor.node_id
        ]

    def node_state(self) -> NodeState:
        """Return what the last step saw. From any thread."""
        return NodeState(beat_age_s=self._now_s() - self._beat_s, actors=self._statuses, is_draining=self._is_draining)

    def families(self, timeout_s: float) -> list[Family]:
        """Return the metrics of every worker that answers within `timeout_s`. From any thread."""
        return families_of([run.actor.handle for run in tuple(self._runs) if run.actor.is_up], timeout_s)

    def drain(self, timeout_s: float) -> bool:
        """Finish and commit within `timeout_s`, then end every actor. Return whether every worker ended by itself."""
        self._is_draining = True
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

    def _create(self, actor_class: Any, name: str, role: str, *arguments: object) -> _Actor:
        options = {"name": self._scoped(name), "num_cpus": ACTOR_CPUS, "scheduling_strategy": "SPREAD"}
        handle = actor_class.options(**options).remote(self._settings, *arguments)
        return _Actor(name=name, role=role, handle=handle, began_s=self._now_s())

    def _begin(self, run: _Run) -> None:
        run.ref = run.actor.handle.run.remote()
        run.was_up = run.actor.is_up

    def _watch_run(self, run: _Run) -> None:
        if run.ref is None:
            if self._now_s() >= run.not_before_s:
                self._begin(run)
            return
        run.was_up |= run.actor.is_up
        done, _ = ray.wait([run.ref], timeout=0)
        if not done:
            return
        error = _error_of(run.ref)
        if error is None:  # drained by its node's agent: Ray will start the actor on another node
            run.ref = None
            run.not_before_s = self._now_s() + self._settings.ray.restart_backoff_max_s
        elif isinstance(error, RayActorError) and not run.was_up:  # the process was already ending: no new failure
            run.ref = None
            run.not_before_s = self._now_s() + RESTART_PAUSE_S
        else:
            if isinstance(error, RayActorError):
                self._note_away(run.actor, error)
            self._note_failure(run, error)

    def _note_failure(self, run: _Run, error: Exception) -> None:
        # Not counted from the start of the run: a worker that waits for brokers takes a minute to fail.
        since_s, run.actor.working_since_s = run.actor.working_since_s, None
        has_worked = since_s is not None and self._now_s() - since_s >= HEALTHY_RUN_S
        run.failures = 1 if has_worked else run.failures + 1
        self._count_restart(run.actor)
        run.ref = None
        limits = self._settings.ray
        run.not_before_s = self._now_s() + backoff_s(RESTART_PAUSE_S, run.failures - 1, limits.restart_backoff_max_s)
        logger.error(
            "worker ended; starting it again",
            extra={"slot": run.slot, "error": type(error).__name__, "failures": run.failures},
        )
        if limits.restarts_max >= 0 and run.failures > limits.restarts_max:
            raise SupervisorError(run.actor.name, run.failures, f"{type(error).__name__}: {error}") from error

    def _watch_health(self, actor: _Actor) -> None:
        limits = self._settings.ray
        if not actor.is_up and self._now_s() - actor.began_s >= limits.start_timeout_s:
            raise SupervisorError(actor.name, actor.restart_count, f"not ready in {limits.start_timeout_s:g} s")
        if actor.ping is None:
            actor.ping = actor.handle.health.remote()
            actor.ping_since_s = self._now_s()
            return
        done, _ = ray.wait([actor.ping], timeout=0)
        if done:
            ping, actor.ping = actor.ping, None
            self._note_answer(actor, ping)
        elif actor.is_up and self._now_s() - actor.ping_since_s >= limits.health_timeout_s:
            actor.ping = None
            self._note_missed(actor)

    def _note_answer(self, actor: _Actor, ping: Any) -> None:
        try:
            health: Any = ray.get(ping)
        except RayActorError as exc:
            self._note_away(actor, exc)
            return
        except RayError:
            self._note_missed(actor)
            return
        if actor.pid is not None and actor.pid != health.pid and actor.role == "stage":
            self._count_restart(actor)
        actor.pid = health.pid
        actor.is_up = True
        actor.loop = getattr(health, "loop", None)
        actor.node_id = health.node_id
        if not self._is_alive(actor, health):
            self._note_missed(actor)
            return
        actor.missed = 0
        is_working = actor.role == "ingress" and health.loop is not None and health.loop.state == "running"
        if is_working and actor.working_since_s is None:
            actor.working_since_s = self._now_s()

    def _note_away(self, actor: _Actor, error: RayActorError) -> None:
        """Note that Ray restarts the actor. That takes seconds, and is no failure until `start_timeout_s`."""
        if error.actor_init_failed:
            raise SupervisorError(actor.name, actor.restart_count, str(error).strip().splitlines()[-1]) from error
        if actor.is_up:
            actor.is_up = False
            actor.began_s = self._now_s()
            actor.missed = 0

    def _note_missed(self, actor: _Actor) -> None:
        actor.missed += 1
        if actor.missed >= self._settings.ray.unhealthy_after:
            self._replace(actor)

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
        actor.is_up = False
        actor.began_s = self._now_s()
        ray.kill(actor.handle, no_restart=False)


def _state(actor: _Actor) -> str:
    if not actor.is_up:
        return "starting"
    return "unhealthy" if actor.missed else "ready"


def _error_of(ref: Any) -> Exception | None:
    try:
        ray.get(ref)
    except RayError as exc:
        return exc
    return None
