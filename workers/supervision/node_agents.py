"""The agents of a Ray cluster, one on every node that can hold actors. KubeRay, not Sluicegate, starts the pods there.

Each agent is an actor pinned to its node. It asks the actors of that node itself, so that no pod's liveness fails while
the supervisor is away or moves.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import ray
from msgspec import Struct, structs
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.settings import Settings, read_secrets, require_sources
from workers.supervision.agent import Agent, Node
from workers.supervision.node_state import ActorStatus, NodeState, WorkerHealth
from workers.telemetry.openmetrics import Family
from workers.telemetry.setup import own_version

logger = logging.getLogger("sluicegate.node_agents")

HEAD_RESOURCE: Final = "node:__internal_head__"
"""A resource that Ray gives to the head node alone."""


class Watched(Struct, frozen=True, kw_only=True):
    """One actor to ask: its name in Ray, and its name for people."""

    actor: str
    name: str
    role: str


class NodeAgent:
    """The agent of the node that it runs on. It asks that node's actors."""

    def __init__(self, settings: Settings) -> None:
        read_secrets(settings)
        self._settings = settings
        self._watched: tuple[Watched, ...] = ()
        self._statuses: dict[str, ActorStatus] = {}
        self._beat_s = time.monotonic()
        self._is_draining = False
        node = Node(
            state=self._state,
            families=self._families,
            drain=self._drain,
            version=own_version(),
            audited=settings.topics.audited,
            poll_max_s=settings.kafka.max_poll_interval_ms / 1000,
        )
        self._agent = Agent(settings.agent, node)
        self._agent.start()
        threading.Thread(target=self._look, name="node-agent", daemon=True).start()

    def watch(self, watched: Sequence[Watched]) -> int:
        """Answer for these actors from now on. Return the port."""
        self._watched = tuple(watched)
        return self._agent.port

    def _state(self) -> NodeState:
        beat_age_s = time.monotonic() - self._beat_s
        actors = tuple(self._statuses[each.name] for each in self._watched if each.name in self._statuses)
        return NodeState(beat_age_s=beat_age_s, actors=actors, is_draining=self._is_draining, may_be_empty=True)

    def _look(self) -> None:
        while True:  # as long as this process
            for each in self._watched:
                self._statuses[each.name] = self._status_of(each)
            self._beat_s = time.monotonic()
            time.sleep(self._settings.ray.health_interval_s)

    def _status_of(self, watched: Watched) -> ActorStatus:
        before = self._statuses.get(watched.name) or ActorStatus(
            name=watched.name, role=watched.role, pid=None, restart_count=0, state="starting"
        )
        try:
            health: Any = ray.get(
                ray.get_actor(watched.actor).health.remote(), timeout=self._settings.ray.health_timeout_s
            )
        except (RayError, ValueError, TimeoutError):  # ValueError: no actor has this name at the moment
            return structs.replace(before, state="starting" if before.pid is None else "unhealthy")
        loop: WorkerHealth | None = getattr(health, "loop", None)
        return structs.replace(before, state="ready", pid=health.pid, loop=loop)

    def _families(self) -> list[Family]:
        return families_of(self._workers(), self._settings.agent.scrape_timeout_s)

    def _drain(self) -> None:
        self._is_draining = True
        for worker in self._workers():
            worker.drain.remote(self._settings.drain.timeout_s)

    def _workers(self) -> list[Any]:
        """Return handles of this node's workers, without those that do not exist at the moment."""
        found: list[Any] = []
        for each in self._watched:
            if each.role == "ingress":
                with suppress(ValueError):
                    found.append(ray.get_actor(each.actor))
        return found


def families_of(workers: Sequence[Any], timeout_s: float) -> list[Family]:
    """Return the metrics of every worker that answers within `timeout_s`. Those that fail or are late are left out."""
    refs: list[Any] = [worker.families.remote() for worker in workers]
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=timeout_s) if refs else ([], [])
    found: list[Family] = []
    for ref in done:
        with suppress(RayError):
            found.extend(ray.get(ref))
    return found


_remote: Any = ray.remote
NodeAgentActor: Any = _remote(max_restarts=-1, num_cpus=0)(NodeAgent)


class NodeAgents:
    """The agents of all nodes, each told which actors it has. `step` is called as often as the supervisor's."""

    def __init__(self, settings: Settings, agent_class: Any = NodeAgentActor) -> None:
        require_sources(settings)
        self._settings = settings
        self._agent_class = agent_class
        self._agents: dict[str, Any] = {}
        self._told: dict[str, tuple[Watched, ...]] = {}

    def step(self, placed: Sequence[tuple[str, Watched]]) -> None:
        """Start and end agents as nodes come and go. `placed` says which actor is on which node, by Ray's node id."""
        if not self._settings.agent.port:
            return
        by_node: dict[str, list[Watched]] = {node_id: [] for node_id in _worker_nodes()}
        for node_id, watched in placed:
            by_node.setdefault(node_id, []).append(watched)
        for node_id in self._agents.keys() - by_node.keys():
            ray.kill(self._agents.pop(node_id))
            self._told.pop(node_id, None)
        for node_id, watched in by_node.items():
            self._tell(node_id, tuple(watched))

    def stop(self) -> None:
        """End every agent."""
        for agent in self._agents.values():
            ray.kill(agent)
        self._agents.clear()
        self._told.clear()

    def _tell(self, node_id: str, watched: tuple[Watched, ...]) -> None:
        agent = self._agents.get(node_id)
        if agent is None:
            pinned = NodeAffinitySchedulingStrategy(node_id, soft=False)
            agent = self._agents[node_id] = self._agent_class.options(scheduling_strategy=pinned).remote(self._settings)
            logger.info("node agent started", extra={"node": node_id})
        if self._told.get(node_id) != watched:
            agent.watch.remote(watched)
            self._told[node_id] = watched


def _worker_nodes() -> list[str]:
    """Return every live node but the head, which holds no actors of the project unless it is told to."""
    nodes: list[dict[str, Any]] = ray.nodes()
    return [node["NodeID"] for node in nodes if node["Alive"] and HEAD_RESOURCE not in node["Resources"]]
