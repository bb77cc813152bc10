"""Labellers, checks and stages of one policy each, and the ports that choose among them by an event's policy.

While a policy is being replaced, events of two policies are in flight at once. A labeller, check or stage knows one
policy and stays simple; the ports below ask the one of the event's policy, so no event is judged by a mix of two.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from topology.contract.drafts import CheckReport
from topology.contract.events import ConversationEvent
from topology.contract.labels import RequestLabels
from topology.policy.bundle import PolicyBundle
from topology.ports import Check, CheckInput, Stage

KEPT_MAX = 8
"""Most policies in use at once: the one in force, earlier ones whose last events are in flight, and shadows."""

Made = TypeVar("Made")


class PerPolicy(Generic[Made]):
    """A cache of what `make` makes of a bundle, at first use. It keeps the `KEPT_MAX` used last. Thread-safe."""

    def __init__(self, make: Callable[[PolicyBundle], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Made] = OrderedDict()

    def of(self, bundle: PolicyBundle) -> Made:
        """Return what was made of `bundle`, which is identified by its reference."""
        ref = bundle.ref
        with self._lock:
            made = self._made.get(ref)
            if made is None:
                made = self._made[ref] = self._make(bundle)
                if len(self._made) > KEPT_MAX:
                    self._made.popitem(last=False)
            else:
                self._made.move_to_end(ref)
            return made


class OnePolicyLabeler(Protocol):
    """A labeller in the categories of one policy."""

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """See `Labeler.label`."""
        ...


class PolicyLabeler:
    """The Labeler port over labellers of one policy each."""

    def __init__(self, make: Callable[[PolicyBundle], OnePolicyLabeler]) -> None:
        self._labelers = PerPolicy(make)

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """Return the labels of the policy's labeller."""
        return await self._labelers.of(policy).label(event)


class PolicyCheck:
    """The Check port over checks of one policy each. They share `version`; a report names its own check's."""

    def __init__(self, name: str, version: str, make: Callable[[PolicyBundle], Check]) -> None:
        self.name = name
        self.version = version
        self._checks = PerPolicy(make)

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the report of the check of the draft's policy."""
        return await self._checks.of(given.policy).check(given)


class PolicyStage:
    """The Stage port over stages of one policy each."""

    def __init__(self, name: str, version: str, make: Callable[[PolicyBundle], Stage]) -> None:
        self.name = name
        self.version = version
        self._stages = PerPolicy(make)

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per draft, in order, each by the stage of its own policy."""
        return [self._stages.of(given.policy).run([given])[0] for given in batch]
