"""Reason codes in words, for those who get an answer and no audit record; and what kind of end a response is."""

from enum import Enum
from typing import Final

from msgspec import Struct

from topology.contract.events import Action, ContentPart, Usage
from topology.contract.labels import Outcome
from topology.contract.names import ActionReason
from topology.decision.plan import AGE_UNKNOWN
from topology.steps.audit import TRUNCATED
from topology.steps.withholding import DUPLICATE_EVENT, RATE_LIMITED

REJECTED: Final = "rejected"
CLIENT_GONE: Final = "client_gone"
GUARD_ROW: Final = "V01"
"""The row of a policy's rules for a guard that failed (docs/policy.md)."""

WORDS: Final = {
    ActionReason.DEADLINE.value: "there was no answer before the request's deadline",
    ActionReason.OVERLOADED.value: "the request waited for its turn until it could not be answered in time",
    ActionReason.PROCESSING_FAILED.value: "something failed while the request was processed",
    "invalid": "a field is missing, has a wrong type or is out of bounds",
    "poison": "processing the request ended its process several times",
    RATE_LIMITED: "the tenant is over its budget",
    DUPLICATE_EVENT: "the request was answered before",
    CLIENT_GONE: "nobody waited for the answer any more",
    TRUNCATED: "the answer was cut off at its number of tokens",
    AGE_UNKNOWN: "the user's age is not known, so the limits for teenagers applied",
    GUARD_ROW: "a guard could not tell, so nothing was let through",
    "V99": "nothing was found against the answer",
}
_FAILED_OUTCOMES: Final = {
    Outcome.TIMEOUT.value: "took too long",
    Outcome.UNREACHABLE.value: "could not be reached",
    Outcome.OVERLOADED.value: "was overloaded",
    Outcome.REFUSED.value: "refused the request",
    Outcome.UNPARSABLE.value: "gave an answer that could not be read",
    Outcome.CRASHED.value: "failed",
}
_FAILURES: Final = frozenset(
    {
        ActionReason.DEADLINE.value,
        ActionReason.OVERLOADED.value,
        ActionReason.PROCESSING_FAILED.value,
        "poison",
        GUARD_ROW,
    }
)
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
    return End.FAILED if first in _FAILURES or _failed_part(first) is not None else End.WITHHELD


def in_words(code: str) -> str:
    """Return what a reason code means."""
    if (words := WORDS.get(code)) is not None:
        return words
    failed = _failed_part(code)
    return f"the policy's rule {code}" if failed is None else " ".join(failed)


def _failed_part(code: str) -> tuple[str, str] | None:
    """Return what failed and how, of a code such as `classification_timeout`; None for any other code."""
    part, _, outcome = code.rpartition("_")
    if not part or outcome not in _FAILED_OUTCOMES:
        return None
    name = "the model" if part == "generator" else f"the guard {part}"
    return name, _FAILED_OUTCOMES[outcome]
