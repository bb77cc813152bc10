"""The limit on requests that are labelled at once, and the gauges of all such limits."""

from topology.contract.events import ConversationEvent
from topology.contract.labels import RequestLabels
from topology.load.gate import DEADLINE_S, Gate, OnChange
from topology.policy.bundle import PolicyBundle
from topology.ports import Labeler
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

LABELLED_PER_THREAD = 2
"""Requests that may be in the labeller's hands for each of its threads: one is read, one is ready to follow. The rest
wait where their order is that of their deadlines."""


def concurrency_gauges(metrics: Instruments, part: str) -> OnChange:
    """Return a function that shows the limit of a part, and what has begun and waits there."""

    def show(limit: int, begun_count: int, waiting_count: int) -> None:
        metrics.gauge_set(Metric.CONCURRENCY_LIMIT, limit, part=part)
        metrics.gauge_set(Metric.CONCURRENCY_BEGUN, begun_count, part=part)
        metrics.gauge_set(Metric.CONCURRENCY_WAITING, waiting_count, part=part)

    return show


class GatedLabeler:
    """A labeller behind a gate."""

    def __init__(self, labeler: Labeler, gate: Gate) -> None:
        self._labeler = labeler
        self._gate = gate

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """See `Labeler.label`. Raises TooLate if its turn comes too late for the event's deadline."""
        async with self._gate.turn(DEADLINE_S.get()):
            return await self._labeler.label(event, policy)
