"""Canaries: signed events of a reserved tenant that prove, on the live path, that the gate holds and lets through.

A canary carries its own candidate answer and says what must become of it. It is labelled, checked, judged and audited
like any event; its answer goes to a topic of its own, and neither state nor the metrics of traffic see it.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec import structs

from topology.contract.codec import canonical_json
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, CanaryMark, ConversationEvent, Expectation
from topology.contract.names import StageName
from topology.policy.overlays import VerifySignature

DOMAIN = b"sluicegate canary\0"
"""Goes before what is signed, so that no signature of anything else is one of a canary."""


RequireGenuine = Callable[[ConversationEvent, int], None]
"""(canary, epoch milliseconds now): raises DeadLetter for one that the platform did not sign."""


class Forged(StrEnum):
    """Why the mark of an event of the reserved tenant is not believed."""

    STALE = "a mark of another time"
    ALTERED = "a signature that does not verify"


def canary_message(event: ConversationEvent) -> bytes:
    """What the platform signs: the whole event, but for the signature itself. Raises ValueError without a mark."""
    if event.canary is None:
        raise ValueError("the event has no canary mark")
    unsigned = structs.replace(event, canary=structs.replace(event.canary, signature=""))
    return DOMAIN + canonical_json(msgspec.to_builtins(unsigned))


def require_genuine(event: ConversationEvent, now_ms: int, age_max_ms: int, verify: VerifySignature | None) -> None:
    """Raise DeadLetter for a canary that the platform did not sign lately. Any other event is as it was decoded.

    `verify` None means that no key is known, so that there are no canaries here.
    """
    mark = event.canary
    if mark is None:
        return
    if abs(now_ms - mark.issued_ms) > age_max_ms:
        raise _refused(Forged.STALE)
    if verify is None or not mark.signature or not verify(canary_message(event), mark.key_id, mark.signature):
        raise _refused(Forged.ALTERED)


def no_canaries(event: ConversationEvent, now_ms: int) -> None:
    """Where no key is known every canary is a forgery."""
    require_genuine(event, now_ms, 0, None)


def is_as_expected(mark: CanaryMark, action: Action) -> bool:
    """Whether the gate did with a canary what it must: let it out as it came, or not."""
    return (action is Action.PUBLISHED) == (mark.expect is Expectation.PUBLISHED)


def _refused(why: Forged) -> DeadLetter:
    return DeadLetter(DeadLetterReason.RESERVED_TENANT, StageName.DECODE.value, why.value)
