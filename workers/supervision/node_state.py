"""The answers of one node's probes, from what is known of its actors. Pure.

Liveness requires progress, and nothing outside the pod: pods must not restart because a broker or a model is away.
Readiness requires that every worker is in its group, or stands by for partitions.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

from msgspec import Struct, structs

from topology.contract.events import Action
from topology.telemetry.metrics import Metric
from workers.policy.keeper import PolicyHealth
from workers.stream.loop import LoopHealth, LoopState
from workers.telemetry.model_health import ModelHealth
from workers.telemetry.openmetrics import Family

REPLACE_GRACE_S: Final = 60.0
"""Time that a worker may stand still beyond its own bound. The supervisor replaces it sooner, if that helps."""


class WorkerHealth(LoopHealth, frozen=True, kw_only=True):
    """A snapshot of a worker: its loop's, the policy that it judges under, and its language models.

    `policy` is None if none is loaded yet. `troubles` is what its log said last, a sentence each.
    """

    policy: PolicyHealth | None = None
    models: tuple[ModelHealth, ...] = ()
    troubles: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        loop: LoopHealth,
        policy: PolicyHealth | None,
        models: Iterable[ModelHealth] = (),
        troubles: tuple[str, ...] = (),
    ) -> Self:
        """Return the health of a loop, of its policy and of its models in one value."""
        return cls(**structs.asdict(loop), policy=policy, models=tuple(models), troubles=troubles)


class ActorStatus(Struct, frozen=True, kw_only=True):
    """The status of an actor. `state` is starting, ready or unhealthy; `loop` is None for a stage or until it runs."""

    name: str
    role: str
    pid: int | None
    restart_count: int
    state: str
    loop: WorkerHealth | None = None

    @property
    def is_healthy(self) -> bool:
        """Return whether it answers and works."""
        return self.state == "ready"


class NodeState(Struct, frozen=True, kw_only=True):
    """The state of one node at one moment. `beat_age_s` is how long ago its actors were last looked at.

    `may_be_empty` says that actors come and go here, so that a node without any stands by.
    """

    beat_age_s: float
    actors: tuple[ActorStatus, ...]
    is_draining: bool = False
    may_be_empty: bool = False


Faults = tuple[str, ...]
"""The reasons why a probe fails, a sentence each; none if it passes."""


def not_live(node: NodeState, beat_max_s: float, poll_max_s: float) -> Faults:
    """Return why the pod should be restarted: nobody watches, or a worker no longer polls and was not replaced."""
    return tuple(_not_live(node, beat_max_s, poll_max_s))


def not_ready(node: NodeState) -> Faults:
    """Return why this node does not do its share of the work."""
    return tuple(_not_ready(node))


def not_started(node: NodeState) -> Faults:
    """Return which actors have never been up."""
    if not node.actors and not node.may_be_empty:
        return ("no actor has been started",)
    return tuple(f"{actor.name} is starting" for actor in node.actors if actor.pid is None)


def _not_live(node: NodeState, beat_max_s: float, poll_max_s: float) -> Iterator[str]:
    if node.beat_age_s > beat_max_s:
        yield f"nobody has looked at the actors for {node.beat_age_s:.0f} s; the limit is {beat_max_s:g} s"
    bound_s = poll_max_s + REPLACE_GRACE_S
    for actor in node.actors:
        if actor.loop is not None and actor.loop.state is LoopState.RUNNING and actor.loop.poll_age_s > bound_s:
            yield f"{actor.name} has not polled for {actor.loop.poll_age_s:.0f} s; the limit is {bound_s:g} s"


def _not_ready(node: NodeState) -> Iterator[str]:
    if node.is_draining:
        yield "draining"
    if not node.actors and not node.may_be_empty:
        yield "no actor has been started"
    for actor in node.actors:
        if not actor.is_healthy:
            yield f"{actor.name} is {actor.state}"
        elif actor.role == "ingress" and (actor.loop is None or actor.loop.state is not LoopState.RUNNING):
            yield f"{actor.name} is {'not working yet' if actor.loop is None else actor.loop.state.value}"
        elif actor.loop is not None and not actor.loop.assigned:
            yield f"{actor.name} is not in its group"


class Totals(Struct, frozen=True, kw_only=True):
    """The sums of a node's metrics, for people. Counters start with their processes; lag is in records, and seconds.

    `guards` counts the failures of each guard by their reason, `budgets` the events of each budget by their outcome.
    """

    consumed: float = 0
    published: float = 0
    dead_letters: float = 0
    withheld: float = 0
    in_work: float = 0
    lag: float = 0
    lag_s: float = 0
    standstill_s: float = 0
    guards: dict[str, dict[str, float]] = {}
    budgets: dict[str, dict[str, float]] = {}


def totals(families: Iterable[Family], audited: str) -> Totals:
    """Add the metrics up. `published` counts the records of the topic `audited`."""
    by_name: dict[str, list[Family]] = {}
    for family in families:
        by_name.setdefault(family.name, []).append(family)

    def values(metric: Metric, **labels: str) -> list[float]:
        points = [point for family in by_name.get(metric.value, ()) for point in family.points]
        return [point.value for point in points if labels.items() <= point.labels.items()]

    def by(metric: Metric, first: str, second: str) -> dict[str, dict[str, float]]:
        """Return the sums that are not 0, by two labels."""
        sums: dict[str, dict[str, float]] = {}
        for family in by_name.get(metric.value, ()):
            for point in family.points:
                if point.value:
                    of_first = sums.setdefault(point.labels[first], {})
                    of_first[point.labels[second]] = of_first.get(point.labels[second], 0) + point.value
        return sums

    return Totals(
        consumed=sum(values(Metric.EVENTS_CONSUMED)),
        published=sum(values(Metric.EVENTS_PUBLISHED, topic=audited)),
        dead_letters=sum(values(Metric.DEAD_LETTERS)),
        withheld=sum(values(Metric.ACTIONS, action=Action.WITHHELD.value)),
        in_work=sum(values(Metric.INFLIGHT_EVENTS)),
        lag=sum(values(Metric.CONSUMER_LAG)),
        lag_s=max(values(Metric.CONSUMER_LAG_SECONDS), default=0),
        standstill_s=max(values(Metric.STANDSTILL_SECONDS), default=0),
        guards=by(Metric.STAGE_ERRORS, "stage", "reason"),
        budgets=by(Metric.TENANT_EVENTS, "budget", "outcome"),
    )


class NodeStatus(Struct, frozen=True, kw_only=True):
    """The document that `/status` answers and `sluicegate status` shows."""

    version: str
    live: bool
    ready: bool
    draining: bool
    faults: Faults
    actors: tuple[ActorStatus, ...]
    totals: Totals
    troubles: tuple[str, ...] = ()
    """What the workers' logs said last, a sentence each; probes do not depend on it."""

    @property
    def is_well(self) -> bool:
        """Return whether nothing is wrong: it is live and ready, and no worker reports trouble."""
        return self.live and self.ready and not self.troubles


def _troubles(actors: Iterable[ActorStatus]) -> Iterator[str]:
    for actor in actors:
        if actor.loop is not None:
            yield from (f"{actor.name}: {trouble}" for trouble in actor.loop.troubles)
            if actor.loop.stopped_count:
                yield f"{actor.name}: {actor.loop.stopped_count} partitions stopped: their offset maps are unreadable"


def node_status(
    node: NodeState, families: Sequence[Family], *, version: str, audited: str, beat_max_s: float, poll_max_s: float
) -> NodeStatus:
    """Return everything about a node in one document."""
    dead, unready = not_live(node, beat_max_s, poll_max_s), not_ready(node)
    return NodeStatus(
        version=version,
        live=not dead,
        ready=not unready,
        draining=node.is_draining,
        faults=(*dead, *unready),
        actors=node.actors,
        totals=totals(families, audited),
        troubles=tuple(_troubles(node.actors)),
    )
