"""The smallest valid inputs of the ports, for contract suites and unit tests."""

from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import ConversationEvent, GenerationParameters, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.policy.loading import packaged_bundle
from topology.ports import CheckInput

POLICY = packaged_bundle()
PARAMETERS = GenerationParameters(max_tokens=16, temperature=0.0, seed=7)


def message(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def event(text: str = "How does a canal lock work?", *, event_id: str = "evt-1") -> ConversationEvent:
    return ConversationEvent(
        event_id=event_id, conversation_id="c-1", tenant_id="t-1", messages=(message(Role.USER, text),)
    )


def generation_request(
    deadline_s: float, text: str = "How does a canal lock work?", *, parameters: GenerationParameters = PARAMETERS
) -> GenerationRequest:
    return GenerationRequest(
        request_id="evt-1.generator.1",
        messages=(message(Role.SYSTEM, "Be brief."), message(Role.USER, text)),
        parameters=parameters,
        deadline_s=deadline_s,
        headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    )


def check_input(draft: str = "Water lifts the boat.", request: str = "How does a canal lock work?") -> CheckInput:
    return CheckInput(
        event=event(request),
        labels=RequestLabels(labeler=LabelerIdentity(model="m", version="1")),
        plan=Plan(mode=Mode.DIRECT_ANSWER, ceilings={}),
        draft=Draft(text=draft, source=DraftSource.GENERATOR),
        attempt=1,
        policy=POLICY,
    )
