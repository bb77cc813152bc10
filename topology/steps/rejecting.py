"""Rejected events: a record that names its ids but is no valid event gets an answer, so that nobody waits in vain."""

from topology.contract.codec import EventIds
from topology.contract.errors import DeadLetter
from topology.contract.events import Action, ConversationEvent
from topology.contract.labels import Mode
from topology.contract.names import ActionReason, DraftSource
from topology.steps.audit import Answer
from topology.steps.case import Decision


def nameless(ids: EventIds) -> ConversationEvent:
    """Return an event with these ids and nothing else: no more of the record can be relied on."""
    return ConversationEvent(
        event_id=ids.event_id, conversation_id=ids.conversation_id, tenant_id=ids.tenant_id, messages=()
    )


def rejected(failure: DeadLetter) -> Decision:
    """Return the decision on a record that is no valid event: no text, the reason, and the dead letter that it is."""
    return Decision(
        action=Action.REJECTED,
        answer=Answer(text="", source=DraftSource.NONE, mode=Mode.REFUSE_REDIRECT),
        reason=ActionReason.INVALID,
        reason_codes=(failure.reason.value,),
        failure=failure,
        detail=failure.detail,
    )
