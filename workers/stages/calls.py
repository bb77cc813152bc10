"""What a stream worker and a stage actor say to each other: drafts with their policies by reference, and reports.

A policy is a hundred times as long as a draft, so it travels once for each actor: one that is asked to judge under a
policy that it does not know says so, and is asked again with the policy beside the batch. So nobody has to tell actors
of a new policy beforehand, and one that was restarted learns those in use from the first batches that it gets.
"""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from topology.contract.events import ConversationEvent
from topology.contract.labels import Plan, RequestLabels
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, CheckReport, Draft, Stage

KNOWN_MAX = 8
"""Policies that an actor keeps; those beyond are asked for again when they are needed."""


class StageItem(Struct, frozen=True, kw_only=True):
    """One input on its way: a `CheckInput` whose policy is named."""

    event: ConversationEvent
    labels: RequestLabels
    plan: Plan
    draft: Draft
    attempt: int
    policy_ref: str


class Reports(Struct, frozen=True, tag="reports"):
    """One report per item, in order."""

    reports: tuple[CheckReport, ...]


class PoliciesWanted(Struct, frozen=True, tag="policies_wanted"):
    """Nothing was judged: these policies are not known."""

    refs: tuple[str, ...]


_encoder = msgspec.msgpack.Encoder()
_items = msgspec.msgpack.Decoder(list[StageItem])
_policies = msgspec.msgpack.Decoder(list[PolicyBundle])
_answer = msgspec.msgpack.Decoder(Reports | PoliciesWanted)


def encode_item(given: CheckInput) -> bytes:
    """An input as MessagePack."""
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
    """Encoded items as one message."""
    return _encoder.encode([msgspec.Raw(item) for item in items])


def encode_policies(policies: Sequence[PolicyBundle]) -> bytes:
    """Policies as one message."""
    return _encoder.encode(policies)


def decode_answer(raw: bytes) -> Reports | PoliciesWanted:
    """What an actor answered. Raises msgspec.MsgspecError where it is nothing of ours."""
    return _answer.decode(raw)


class StageDesk:
    """The actor's side: the policies that it was given, and how many batches were judged."""

    def __init__(self) -> None:
        self.batch_count = 0
        self._known: OrderedDict[str, PolicyBundle] = OrderedDict()

    def answer(self, stage: Stage, batch: bytes, policies: bytes) -> bytes:
        """`Reports` or `PoliciesWanted`, encoded. `policies` are those asked for before, empty at the first try.

        Raises what the stage raises, and msgspec.MsgspecError.
        """
        given = {policy.ref: policy for policy in _policies.decode(policies)} if policies else {}
        items = _items.decode(batch)
        known = {**self._known, **given}  # what is evicted below serves this batch still
        missing = {item.policy_ref for item in items} - known.keys()
        if missing:
            return _encoder.encode(PoliciesWanted(tuple(sorted(missing))))
        self._keep({item.policy_ref: known[item.policy_ref] for item in items})
        try:
            return _encoder.encode(Reports(tuple(stage.run([_input(item, known) for item in items]))))
        finally:
            self.batch_count += 1

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
