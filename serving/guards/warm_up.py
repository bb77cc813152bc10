"""The text that every guard judges before the first event, so that no event waits for what is built once.

To judge it, a process reads the phrases and terms, loads the recognisers of personal data and the numbering plans of
telephone numbers, and compiles the patterns that their libraries compile at first use.
"""

import functools

from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.policy.bundle import PolicyBundle
from topology.policy.loading import packaged_bundle
from topology.ports import CheckInput

NAME = "warm-up"
TEXT = (
    'Write to jo.smith@example.org or call (202) 555-0143 or 020 7946 0018. Translate "the quick brown fox jumps": '
    "3 cups of 水, https://example.org/, 4242 4242 4242 4242, 3,000 years old, https%3A%2F%2Fexample%2Eorg"
)
"""A text with a number, an address, a quotation, an encoding, and letters of a script without spaces."""


def warm_up_event() -> ConversationEvent:
    """Return an event whose user says the text."""
    return ConversationEvent(
        event_id=NAME,
        conversation_id=NAME,
        tenant_id=NAME,
        messages=(Message(role=Role.USER, parts=(TextPart(text=TEXT),)),),
    )


def warm_up_input() -> CheckInput:
    """Return a draft that says the text, to be judged under the packaged policy."""
    return CheckInput(
        event=warm_up_event(),
        labels=RequestLabels(labeler=LabelerIdentity(model=NAME, version="")),
        plan=Plan(mode=Mode.DIRECT_ANSWER, ceilings={}),
        draft=Draft(text=TEXT, source=DraftSource.CANDIDATE),
        attempt=1,
        policy=warm_up_policy(),
    )


@functools.cache
def warm_up_policy() -> PolicyBundle:
    """Return the packaged policy, loaded once."""
    return packaged_bundle()
