"""Turns without content of their own, which take up what was asked before: the memory decides what that was. Pure."""

from collections.abc import Iterable

from msgspec import structs

from topology.contract.conversation import AskedFinding, ConversationState, stricter
from topology.contract.events import ConversationEvent, Role, parts_text
from topology.contract.labels import ANSWER, Confidence, RequestFinding, RequestLabels
from topology.steps.audit import TextDigest

CONVERSATION = "conversation"
"""The source of a finding that the conversation's memory brings to a turn that takes it up."""


def taken_up(
    labels: RequestLabels, event: ConversationEvent, state: ConversationState, digest: TextDigest
) -> RequestLabels:
    """Return the labels with what the turn takes up. An answer that the memory does not hold is the user's text."""
    if not labels.leaning.takes_up:
        return labels
    return with_asked(without_answer(labels) if _is_published(event, state, digest) else labels, state)


def _is_published(event: ConversationEvent, state: ConversationState, digest: TextDigest) -> bool:
    """Return whether the last answer that the event tells of is the one that was published last."""
    said = (each.parts for each in reversed(event.messages) if each.role is Role.ASSISTANT)
    last = next(said, None)
    return last is not None and digest(parts_text(last)) == state.answered


def without_answer(labels: RequestLabels) -> RequestLabels:
    """Return the labels without findings in the answer taken up: it was published, and so kept to its ceilings."""
    findings = tuple([finding for finding in labels.findings if ANSWER not in finding.sources])
    return labels if len(findings) == len(labels.findings) else structs.replace(labels, findings=findings)


def with_asked(labels: RequestLabels, state: ConversationState) -> RequestLabels:
    """Return the labels of a turn that takes something up, with the remembered findings of what was asked.

    The memory counts even where the event names something else, because it may leave out or make up what was said. If
    nothing is remembered of what the event does not hold, the labels are those of the turn alone, and uncertain.
    """
    if not labels.leaning.takes_up:
        return labels
    named = {finding.category for finding in labels.findings}
    own = [_at_least(finding, state.asked) for finding in labels.findings]
    carried = [_carried(one) for one in state.asked if one.category not in named]
    if labels.leans and not state.asked:
        own = [structs.replace(finding, confidence=Confidence.LOW) for finding in own]
    return structs.replace(
        labels, findings=(*own, *carried), touches_risk=labels.touches_risk or state.risk is not None
    )


def _at_least(finding: RequestFinding, asked: Iterable[AskedFinding]) -> RequestFinding:
    """Return a finding that is as strict as everything that was asked in its category."""
    for one in asked:
        if one.category == finding.category:
            finding = structs.replace(
                finding,
                harm=max(finding.harm, one.harm),
                intent=stricter(finding.intent, one.intent),
                asked_detail=max(finding.asked_detail, one.asked_detail),
            )
    return finding


def _carried(asked: AskedFinding) -> RequestFinding:
    return RequestFinding(
        category=asked.category,
        harm=asked.harm,
        intent=asked.intent,
        asked_detail=asked.asked_detail,
        sources=(CONVERSATION,),
    )
