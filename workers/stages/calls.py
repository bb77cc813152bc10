"""The messages between a stream worker and a stage actor: drafts that name their policies, and reports.

A policy is a hundred times as long as a draft, so it is sent once to each actor. An actor that does not know the policy
of a batch says so, and gets the batch again with the policy beside it. So nobody has to tell actors of a new policy
beforehand, and a restarted actor learns the policies in use from its first batches.
"""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import ConversationEvent
from topology.contract.labels import Plan, RequestLabels
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, Stage
from workers.process.served import Served

KNOWN_MAX = 8
"""Policies that an actor keeps. It asks for others again when it needs them."""


class StageItem(Struct, frozen=True, kw_only=True):
    """One input on its way: a `CheckInput` that names its policy."""

    event: ConversationEvent
    labels: RequestLabels
    plan: Plan
    draft: Draft
    attempt: int
    policy_ref: str


class Reports(Struct, frozen=True, tag="reports"):
    """The reports of a batch, one per item, in order."""

    reports: tuple[CheckReport, ...]


class PoliciesWanted(Struct, frozen=True, tag="policies_wanted"):
    """The policies that the actor does not know. It has judged nothing."""

    refs: tuple[str, ...]


_encoder = msgspec.msgpack.Encoder()
_items = msgspec.msgpack.Decoder(list[StageItem])
_policies = msgspec.msgpack.Decoder(list[PolicyBundle])
_answer = msgspec.msgpack.Decoder(Reports | PoliciesWanted)


def encode_item(given: CheckInput) -> bytes:
    """Return an input as MessagePack."""
    item = StageItem(
        event=given.event,
        labels=given.labels,
        plan=given.plan,
        draft=given.draft,
        attempt=given.attempt,
        policy_ref=given.policy.ref,
    )
    return _encoder.encode(item)


def encode_batch(items: Sequence[bytes]) -> bytes:
    """Return encoded items as one message."""
    return _encoder.encode([msgspec.Raw(item) for item in items])


def encode_policies(policies: Sequence[PolicyBundle]) -> bytes:
    """Return policies as one message."""
    return _encoder.encode(policies)


def decode_answer(raw: bytes) -> Reports | PoliciesWanted:
    """Return what an actor answered. Raises msgspec.MsgspecError if it is neither message."""
    return _answer.decode(raw)


class StageDesk:
    """The actor's side of the calls: the policies that it was given, and how many batches it has judged.

    Drafts are judged one by one, so that `busy_s` is one draft's time of service.
    """

    def __init__(self) -> None:
        self.batch_count = 0
        self._served = Served()
        self._known: OrderedDict[str, PolicyBundle] = OrderedDict()

    def answer(self, stage: Stage, batch: bytes, policies: bytes) -> bytes:
        """Return `Reports` or `PoliciesWanted`, encoded. `policies` are those that it wanted, empty at the first try.

        Raises what the stage raises, and msgspec.MsgspecError.
        """
        given = {policy.ref: policy for policy in _policies.decode(policies)} if policies else {}
        items = _items.decode(batch)
        known = {**self._known, **given}  # a policy that is evicted below still serves this batch
        missing = {item.policy_ref for item in items} - known.keys()
        if missing:
            return _encoder.encode(PoliciesWanted(tuple(sorted(missing))))
        self._keep({item.policy_ref: known[item.policy_ref] for item in items})
        try:
            return _encoder.encode(Reports(tuple([self._judge(stage, _input(item, known)) for item in items])))
        finally:
            self._served.end()
            self.batch_count += 1

    def busy_s(self) -> float:
        """Return the time of service of the present draft; 0 if there is none. From any thread."""
        return self._served.time_s()

    def _judge(self, stage: Stage, given: CheckInput) -> CheckReport:
        self._served.begin()
        (report,) = stage.run([given])
        return report

    def _keep(self, used: dict[str, PolicyBundle]) -> None:
        for ref, policy in used.items():
            self._known[ref] = policy
            self._known.move_to_end(ref)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def _input(item: StageItem, known: dict[str, PolicyBundle]) -> CheckInput:
    return CheckInput(
        event=item.event,
        labels=item.labels,
        plan=item.plan,
        draft=item.draft,
        attempt=item.attempt,
        policy=known[item.policy_ref],
    )
