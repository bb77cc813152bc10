"""Each event under its own policy: what is made for one policy, and the ports that choose it by event.

While a policy is being replaced, events of two are under way at once. Labellers, checks and stages are made for one
policy each and stay simple; the ports below ask the one of the event's policy, so that nobody judges by a mix.
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
"""Policies in use at once: the one in force, those before it while their last events finish, and shadows."""

Made = TypeVar("Made")


class PerPolicy(Generic[Made]):
    """Makes its part of a bundle on first use and keeps the `KEPT_MAX` used last. From any thread."""

    def __init__(self, make: Callable[[PolicyBundle], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Made] = OrderedDict()

    def of(self, bundle: PolicyBundle) -> Made:
        """The part that belongs to `bundle`, which is known by its reference."""
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
    """Labels requests in the categories of the policy that it was made for."""

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """As `Labeler.label`."""
        ...


class PolicyLabeler:
    """The Labeler port over labellers of one policy each."""

    def __init__(self, make: Callable[[PolicyBundle], OnePolicyLabeler]) -> None:
        self._labelers = PerPolicy(make)

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """What the labeller of that policy says."""
        return await self._labelers.of(policy).label(event)


class PolicyCheck:
    """The Check port over checks of one policy each. `version` is what they have in common; reports name their own."""

    def __init__(self, name: str, version: str, make: Callable[[PolicyBundle], Check]) -> None:
        self.name = name
        self.version = version
        self._checks = PerPolicy(make)

    async def check(self, given: CheckInput) -> CheckReport:
        """The report of the check of the draft's policy."""
        return await self._checks.of(given.policy).check(given)


class PolicyStage:
    """The Stage port over stages of one policy each."""

    def __init__(self, name: str, version: str, make: Callable[[PolicyBundle], Stage]) -> None:
        self.name = name
        self.version = version
        self._stages = PerPolicy(make)

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """One report per draft, in order, each by the stage of its own policy."""
        return [self._stages.of(given.policy).run([given])[0] for given in batch]
