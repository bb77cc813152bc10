"""Reason codes in words, for those who get an answer and no audit record; and what kind of end a response is."""

from enum import Enum
from typing import Final

from msgspec import Struct

from topology.contract.events import Action, ContentPart, Usage
from topology.reference.reason_codes import Again, reason_of
from topology.steps.withholding import CLIENT_GONE, RATE_LIMITED

REJECTED: Final = "rejected"
_ANSWERS: Final = frozenset({Again.NO, Again.FIRST, Again.CORRECTED})
"""What is said of codes that stand for an answer; any other is of a failure, which the same id may ask about again."""
_LET_OUT: Final = frozenset(
    {Action.PUBLISHED.value, Action.REDACTED.value, Action.SAFE_COMPLETED.value, Action.REFUSED.value}
)


class Answered(Struct, frozen=True, kw_only=True):
    """An audited response as the door reads it: actions and modes of newer workers are read as well."""

    event_id: str
    conversation_id: str
    tenant_id: str
    action: str
    mode: str
    parts: tuple[ContentPart, ...]
    reason_codes: tuple[str, ...]
    policy_ref: str
    audit_id: str
    usage: Usage = Usage()
    duplicate_of: str = ""
    finish_reason: str = ""
    retry_after_ms: int = 0
    detail: str = ""


class End(Enum):
    """The kind of an event's end. Only the first three are final: the same id gets the same answer again."""

    LET_OUT = "let out"
    WITHHELD = "withheld"
    REJECTED = "rejected"
    LIMITED = "limited"
    FAILED = "failed"
    GONE = "gone"
    REPEATED = "repeated"

    @property
    def is_final(self) -> bool:
        """Return whether a later request with the same id gets this answer."""
        return self in {End.LET_OUT, End.WITHHELD, End.REJECTED}


def end_of(answered: Answered) -> End:
    """Return the kind of end. An action that is not known counts as withheld."""
    if answered.action in _LET_OUT:
        return End.LET_OUT
    if answered.action == REJECTED:
        return End.REJECTED
    if answered.duplicate_of:
        return End.REPEATED
    first = answered.reason_codes[0] if answered.reason_codes else ""
    if first == RATE_LIMITED:
        return End.LIMITED
    if first == CLIENT_GONE:
        return End.GONE
    reason = reason_of(first)
    return End.WITHHELD if reason is None or reason.again in _ANSWERS else End.FAILED


def in_words(code: str) -> str:
    """Return what a reason code means."""
    reason = reason_of(code)
    return f"the policy's rule {code}" if reason is None else reason.words
