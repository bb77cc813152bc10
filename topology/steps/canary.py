"""Canaries: signed events of a reserved tenant that prove, on the live path, that the gate both blocks and publishes.

A canary carries its own candidate answer and the action that it must end with. It is labelled, checked, judged and
audited like any event; its answer is sent to a topic of its own, and it changes no metric of traffic. The state of its
conversation keeps its event id for as long as its mark is valid, and nothing else: a second copy is an ordinary event.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import structs

from topology.contract.conversation import ConversationState, UsedCanary
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, CanaryMark, ConversationEvent, Expectation
from topology.contract.lineage import position_of
from topology.contract.names import StageName
from topology.contract.records import Record
from topology.policy.signatures import UNDOMAINED_REASON, CheckSignature, Proof, Signed
from topology.steps.audit import audit_id

CANARIES_MAX: Final = 128
"""The most canaries of one conversation that are remembered at once; while there are so many, further ones are none."""

RequireGenuine = Callable[[ConversationEvent, int], None]
"""A check of (canary, current time in epoch milliseconds) that raises DeadLetter if the platform did not sign it."""


class Forged(StrEnum):
    """The reason why the mark of an event of the reserved tenant is refused."""

    STALE = "the mark was not issued recently"
    ALTERED = "the signature does not verify"
    ELSEWHERE = "the mark was issued for another partition"
    UNDOMAINED = f"the signature {UNDOMAINED_REASON}"


def signed_fields(event: ConversationEvent) -> dict[str, Any]:
    """Return what a canary's signature covers: the event with this field empty. Raises ValueError without a mark."""
    if event.canary is None:
        raise ValueError("the event has no canary mark")
    unsigned = structs.replace(event, canary=structs.replace(event.canary, signature=""))
    fields: dict[str, Any] = msgspec.to_builtins(unsigned)
    if event.canary.partition is None:
        del fields["canary"]["partition"]
    return fields


def require_genuine(event: ConversationEvent, now_ms: int, age_max_ms: int, check: CheckSignature | None) -> None:
    """Raise DeadLetter for a canary that the platform did not sign recently. Any other event passes.

    `check` None means that no key is known, so that every canary is refused.
    """
    mark = event.canary
    if mark is None:
        return
    if abs(now_ms - mark.issued_ms) > age_max_ms:
        raise _refused(Forged.STALE)
    if check is None or not mark.signature:
        raise _refused(Forged.ALTERED)
    proof = check(Signed.CANARY, signed_fields(event), mark.key_id, mark.signature)
    if proof is not Proof.GENUINE:
        raise _refused(Forged.UNDOMAINED if proof is Proof.UNDOMAINED else Forged.ALTERED)


def require_place(event: ConversationEvent, partition: int) -> None:
    """Raise DeadLetter for a canary in another partition than its mark names: its use is remembered in that one."""
    mark = event.canary
    if mark is not None and mark.partition not in {None, partition}:
        raise _refused(Forged.ELSEWHERE)


def no_canaries(event: ConversationEvent, now_ms: int) -> None:
    """Raise DeadLetter for every canary, as where no key is known."""
    require_genuine(event, now_ms, 0, None)


def is_spent(state: ConversationState, event: ConversationEvent, record: Record) -> bool:
    """Return whether a canary was taken before, from another record, or whether no more can be remembered."""
    first = state.audit_id_of(event.event_id)
    if not first:
        return len(state.canaries) >= CANARIES_MAX
    return first != audit_id(position_of(record), event.event_id)


def spent(
    state: ConversationState, event: ConversationEvent, record: Record, now_ms: int, age_max_ms: int
) -> ConversationState:
    """Return the state in which a canary counts as used until its mark is no longer valid."""
    assert event.canary is not None
    used = UsedCanary(
        event_id=event.event_id,
        audit_id=audit_id(position_of(record), event.event_id),
        until_ms=event.canary.issued_ms + age_max_ms,
    )
    others = [other for other in state.canaries if other.event_id != used.event_id]
    return structs.replace(
        state,
        tenant_id=event.tenant_id,
        updated_ms=max(now_ms, state.updated_ms),
        canaries=(*others, used),
    )


def is_as_expected(mark: CanaryMark, action: Action) -> bool:
    """Return whether a canary ended as its mark requires: published unchanged, or in any other action."""
    return (action is Action.PUBLISHED) == (mark.expect is Expectation.PUBLISHED)


def _refused(why: Forged) -> DeadLetter:
    return DeadLetter(DeadLetterReason.RESERVED_TENANT, StageName.DECODE.value, why.value)
