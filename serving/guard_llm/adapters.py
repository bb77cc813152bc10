"""The second tier: labels of requests and checks of drafts from any OpenAI-compatible endpoint, as guided JSON.

One question covers all categories. With `prompts = groups` the groups of categories that matter are asked about one by
one as well, under their own definitions and examples; if two answers differ, the stricter label stands.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from msgspec import structs

from serving.endpoint.client import ChatClient
from serving.guard_llm.answers import (
    DraftFindingAnswer,
    GroupDraftFinding,
    GroupRequestFinding,
    RequestFindingAnswer,
    draft_data,
    request_data,
)
from serving.guard_llm.asking import GUARD, GuardBounds, Judge, TraceHeaders, no_trace
from serving.guard_llm.questions import UNFAIR, draft_questions, request_questions
from topology.contract.drafts import CheckReport
from topology.contract.events import ConversationEvent
from topology.contract.labels import (
    NONE,
    CategoryId,
    Confidence,
    Intent,
    LabelerIdentity,
    OutputFinding,
    RequestFinding,
    RequestLabels,
    Urgency,
)
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, Clock

__all__ = ["GuardBounds", "LlmCheck", "LlmLabeler"]

VERSION = "3"
"""The version of this adapter; prompts and schemas have a hash of their own."""

HASH_SHOWN = 12
_INTENTS = tuple(Intent)


class LlmLabeler:
    """The Labeler port over a guard LLM. `trace` gives each call's trace headers."""

    def __init__(
        self,
        client: ChatClient,
        bounds: GuardBounds,
        *,
        bundle: PolicyBundle,
        clock: Clock,
        trace: TraceHeaders = no_trace,
    ) -> None:
        self._judge = Judge(client, bounds, clock, trace)
        self._groups_max = bounds.groups_max
        self._questions = request_questions(bundle, bounds.prompts)
        self._identity = LabelerIdentity(model=bounds.model, version=VERSION, prompt_hash=self._questions.prompt_hash)

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """Label the request; age comes from the event alone. Raises CheckFailed if the guard could not tell.

        Groups are asked about after the question over all categories, which says which of them matter.
        """
        data, request_id = request_data(event), f"{event.event_id}.labeler.1"
        answer = await self._judge.ask(self._questions.over_all, data, request_id)
        findings = {found.category: _request_finding(found) for found in answer.findings if found.category != NONE}
        asked = self._questions.groups_for(_by_harm(findings.values()), self._groups_max)
        async with _calls() as calls:
            groups = [calls.create_task(self._judge.ask(each, data, f"{request_id}.{each.name}")) for each in asked]
        for group in groups:
            for found in group.result().findings:
                findings[found.category] = _stricter_request(findings.get(found.category), found)
        return RequestLabels(
            labeler=self._identity,
            findings=tuple(findings.values()),
            vulnerability=answer.vulnerability,
            risk_subject=answer.risk_subject,
            urgency=Urgency.NOW if answer.urgent else None,
            touches_risk=answer.touches_risk,
            age_band=event.user.age_band,
            age_verified=event.user.age_verified,
            signals=tuple(sorted(set(answer.signals))),
            language=answer.language,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._judge.aclose()


class LlmCheck:
    """The Check port over a guard LLM."""

    def __init__(
        self,
        client: ChatClient,
        bounds: GuardBounds,
        *,
        bundle: PolicyBundle,
        clock: Clock,
        trace: TraceHeaders = no_trace,
    ) -> None:
        self._judge = Judge(client, bounds, clock, trace)
        self._groups_max = bounds.groups_max
        self._questions = draft_questions(bundle, bounds.prompts)
        self.name = GUARD
        self.version = f"{bounds.model}/{VERSION}#{self._questions.prompt_hash[:HASH_SHOWN]}"

    async def check(self, given: CheckInput) -> CheckReport:
        """Check what the draft would let its reader do. Raises CheckFailed if the guard could not tell.

        All questions are asked at once, because the request's findings say which groups matter.
        """
        data, request_id = draft_data(given), f"{given.event.event_id}.judge.{given.attempt}"
        questions = self._questions
        asked = questions.groups_for(_by_harm(given.labels.findings), self._groups_max)
        async with _calls() as calls:
            over_all = calls.create_task(self._judge.ask(questions.over_all, data, request_id))
            groups = [calls.create_task(self._judge.ask(each, data, f"{request_id}.{each.name}")) for each in asked]
            manners = [
                calls.create_task(self._judge.ask(each, data, f"{request_id}.{each.name}")) for each in questions.manner
            ]
        answer = over_all.result()
        findings = {found.category: _output_finding(found) for found in answer.findings if found.category != NONE}
        for group in groups:
            for found in group.result().findings:
                findings[found.category] = _wider_output(findings.get(found.category), found)
        faults = dict.fromkeys(fault for manner in manners for fault in manner.result().faults)
        return CheckReport(
            check=self.name,
            version=self.version,
            findings=tuple(findings.values()),
            bare_refusal=answer.bare_refusal,
            declines=answer.declines,
            unfair=answer.unfair or UNFAIR in faults,
            obeyed_injection=answer.obeyed_injection,
            privileged_leak=answer.privileged_leak,
            soft_violations=tuple(fault for fault in faults if fault != UNFAIR),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._judge.aclose()


@asynccontextmanager
async def _calls() -> AsyncGenerator[asyncio.TaskGroup]:
    """Run calls side by side; all have ended on exit. The first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as calls:
            yield calls
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _by_harm(findings: Iterable[RequestFinding]) -> list[CategoryId]:
    """Return the categories found, the gravest first, so that `groups_max` omits the least grave."""
    return [found.category for found in sorted(findings, key=lambda found: -found.harm)]


def _request_finding(found: RequestFindingAnswer) -> RequestFinding:
    return RequestFinding(
        category=CategoryId(found.category),
        harm=found.harm,
        intent=found.intent,
        context=found.context,
        asked_detail=found.asked_detail,
        input_detail=found.input_detail,
        supplied_in_full=found.supplied_in_full,
        confidence=found.confidence,
    )


def _stricter_request(found: RequestFinding | None, again: GroupRequestFinding) -> RequestFinding:
    """Merge two labels: the stricter of each field, and low confidence if they differ."""
    labelled = RequestFinding(
        category=CategoryId(again.category),
        harm=again.harm,
        intent=again.intent,
        asked_detail=again.asked_detail,
        confidence=again.confidence,
    )
    if found is None:
        return labelled
    agree = (found.harm, found.intent, found.asked_detail) == (again.harm, again.intent, again.asked_detail)
    return structs.replace(
        found,
        harm=max(found.harm, again.harm),
        intent=max(found.intent, again.intent, key=_INTENTS.index),
        asked_detail=max(found.asked_detail, again.asked_detail),
        confidence=found.confidence if agree else Confidence.LOW,
    )


def _output_finding(found: DraftFindingAnswer | GroupDraftFinding) -> OutputFinding:
    return OutputFinding(
        category=CategoryId(found.category),
        harm=found.harm,
        detail_lo=found.detail,
        detail_hi=found.detail,
        confidence=found.confidence,
    )


def _wider_output(found: OutputFinding | None, again: GroupDraftFinding) -> OutputFinding:
    """Merge two labels into a range: the judge takes the higher detail, and holds a draft if the two are far apart."""
    labelled = _output_finding(again)
    if found is None:
        return labelled
    is_sure = found.confidence is labelled.confidence is Confidence.HIGH
    return structs.replace(
        found,
        harm=max(found.harm, labelled.harm),
        detail_lo=min(found.detail_lo, labelled.detail_lo),
        detail_hi=max(found.detail_hi, labelled.detail_hi),
        confidence=Confidence.HIGH if is_sure else Confidence.LOW,
    )
