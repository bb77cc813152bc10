"""The second tier: labels of requests and checks of drafts from any OpenAI-compatible endpoint, as guided JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Generic

import msgspec
from msgspec import Meta, Struct

from serving.client import ChatClient
from serving.completion import ChatBody, ChatTurn, Completion
from serving.guard_answers import (
    DRAFT_PROMPT,
    REQUEST_PROMPT,
    Answer,
    DraftAnswer,
    DraftFindingAnswer,
    RequestAnswer,
    RequestFindingAnswer,
    answer_schema,
    draft_data,
    prompt_hash,
    prompt_text,
    request_data,
)
from topology.errors import CheckFailed, RetryLater
from topology.events import ConversationEvent
from topology.labels import (
    NONE,
    CategoryId,
    LabelerIdentity,
    Outcome,
    OutputFinding,
    RequestFinding,
    RequestLabels,
)
from topology.names import StageName
from topology.ports import CheckInput, CheckReport, Clock

TraceHeaders = Callable[[], Mapping[str, str]]
"""The trace context of the running call as HTTP headers."""

GUARD = StageName.GUARD_LLM.value
VERSION = "1"
"""Of this adapter: prompts and schemas have their own hash."""

HASH_SHOWN = 12


class GuardBounds(Struct, frozen=True, kw_only=True):
    """Which model judges and how long one call may take; `tokens_max` bounds its answer."""

    model: str
    timeout_s: Annotated[float, Meta(gt=0)] = 20.0
    tokens_max: Annotated[int, Meta(ge=1)] = 1024
    seed: int = 0


def no_trace() -> Mapping[str, str]:
    """The trace headers of a call that nobody traces."""
    return {}


class _Judge(Generic[Answer]):
    """One question to one model: prompt, schema and strict decoding of what comes back."""

    def __init__(
        self,
        client: ChatClient,
        bounds: GuardBounds,
        kind: type[Answer],
        template: str,
        *,
        categories: Sequence[CategoryId],
        clock: Clock,
        trace: TraceHeaders,
    ) -> None:
        self._client = client
        self._bounds = bounds
        self._clock = clock
        self._trace = trace
        self._decode = msgspec.json.Decoder(kind).decode
        self._categories = frozenset(categories)
        self._prompt = prompt_text(template, categories)
        schema = answer_schema(kind, categories)
        self.prompt_hash = prompt_hash(self._prompt, schema)
        self._format: dict[str, object] = {
            "type": "json_schema",
            "json_schema": {"name": kind.__name__, "strict": True, "schema": schema},
        }

    async def ask(self, data: str, request_id: str) -> Answer:
        """The decoded answer. Raises CheckFailed for whatever else came, or did not."""
        bounds = self._bounds
        body = ChatBody(
            model=bounds.model,
            messages=(ChatTurn(role="system", content=self._prompt), ChatTurn(role="user", content=data)),
            max_tokens=bounds.tokens_max,
            temperature=0.0,
            seed=bounds.seed,
            response_format=self._format,
        )
        try:
            completion = await self._client.complete(
                body,
                request_id=request_id,
                deadline_s=self._clock.monotonic_s() + bounds.timeout_s,
                headers=self._trace(),
            )
        except (RetryLater, CheckFailed) as exc:
            raise CheckFailed(exc.outcome, GUARD, exc.detail) from exc
        return self._read(completion)

    def _read(self, completion: Completion) -> Answer:
        if completion.finish_reason != "stop":
            raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer was cut off")
        try:
            answer = self._decode(completion.text)
        except (msgspec.DecodeError, UnicodeError) as exc:  # its message may quote the answer: leave it out
            raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer does not fit the schema") from exc
        if any(finding.category not in self._categories for finding in answer.findings):
            raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer names a category that the policy does not know")
        return answer


class LlmLabeler:
    """The Labeler port over a guard LLM. `categories` are the policy's; `trace` gives each call's trace headers."""

    def __init__(
        self,
        client: ChatClient,
        bounds: GuardBounds,
        *,
        categories: Sequence[CategoryId],
        clock: Clock,
        trace: TraceHeaders = no_trace,
    ) -> None:
        self._client = client
        self._judge = _Judge(
            client, bounds, RequestAnswer, REQUEST_PROMPT, categories=categories, clock=clock, trace=trace
        )
        self._identity = LabelerIdentity(model=bounds.model, version=VERSION, prompt_hash=self._judge.prompt_hash)

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """The request's labels; age comes from the event alone. Raises CheckFailed where the guard could not tell."""
        answer = await self._judge.ask(request_data(event), f"{event.event_id}.labeler.1")
        return RequestLabels(
            labeler=self._identity,
            findings=tuple(_request_finding(found) for found in answer.findings if found.category != NONE),
            vulnerability=answer.vulnerability,
            age_band=event.user.age_band,
            age_verified=event.user.age_verified,
            signals=tuple(sorted(set(answer.signals))),
            language=answer.language,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class LlmCheck:
    """The Check port over a guard LLM."""

    def __init__(
        self,
        client: ChatClient,
        bounds: GuardBounds,
        *,
        categories: Sequence[CategoryId],
        clock: Clock,
        trace: TraceHeaders = no_trace,
    ) -> None:
        self._client = client
        self._judge = _Judge(client, bounds, DraftAnswer, DRAFT_PROMPT, categories=categories, clock=clock, trace=trace)
        self.name = GUARD
        self.version = f"{bounds.model}/{VERSION}#{self._judge.prompt_hash[:HASH_SHOWN]}"

    async def check(self, given: CheckInput) -> CheckReport:
        """What the draft would let its reader do. Raises CheckFailed where the guard could not tell."""
        answer = await self._judge.ask(draft_data(given), f"{given.event.event_id}.judge.{given.attempt}")
        return CheckReport(
            check=self.name,
            version=self.version,
            findings=tuple(_output_finding(found) for found in answer.findings if found.category != NONE),
            bare_refusal=answer.bare_refusal,
            unfair=answer.unfair,
            obeyed_injection=answer.obeyed_injection,
            privileged_leak=answer.privileged_leak,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


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


def _output_finding(found: DraftFindingAnswer) -> OutputFinding:
    return OutputFinding(
        category=CategoryId(found.category),
        harm=found.harm,
        detail_lo=found.detail,
        detail_hi=found.detail,
        confidence=found.confidence,
    )
