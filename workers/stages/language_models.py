"""The language models of one worker: the generator, and the guard LLM as labeller and check if settings name one."""

import random
from collections.abc import Mapping
from urllib.parse import urlsplit

from opentelemetry.trace import SpanContext

from serving.endpoint.breaker import BreakerState
from serving.endpoint.client import Call, ChatClient, Endpoint
from serving.generation.generator import GenerationDefaults, OpenAiGenerator
from serving.generation.prompts import compile_prompt, tenant_text
from serving.generation.rules import wording
from serving.guard_llm.adapters import GuardBounds, LlmCheck, LlmLabeler
from serving.guards.per_policy import PerPolicy, PolicyCheck, PolicyLabeler
from serving.text.turn_marks import TurnMarks
from topology.contract.drafts import CheckReport
from topology.contract.events import ConversationEvent, Message
from topology.contract.labels import Outcome, Plan, RequestLabels
from topology.contract.names import LlmRole, StageName
from topology.load.gate import DEADLINE_S, Gate
from topology.load.limiter import Limiter, LimiterBounds
from topology.policy.bundle import PolicyBundle
from topology.ports import Check, CheckInput, Clock, Labeler
from topology.steps.case import Case
from topology.steps.drafting import CompilePrompt
from topology.telemetry.event_trace import CURRENT_TRACE
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.span_handles import CURRENT_SPAN
from topology.telemetry.trace_context import carrier
from workers.settings import GenerationSettings, Settings
from workers.stages.batching import SLOW_SHARE, concurrency_gauges
from workers.stages.embedded import embedded_labeler
from workers.stages.turn_marks import own_marks
from workers.telemetry.model_health import ModelHealth, ModelWatch

BREAKER_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}

LABELLED_PER_THREAD = 2
"""Requests that may be in the labeller's hands for each of its threads: one is read, one is ready to follow. The rest
wait where their order is that of their deadlines."""


class ModelSet:
    """The `generator`, `labeler` and `checks` that settings ask for. `aclose` runs on the event loop that used them."""

    def __init__(self, settings: Settings, clock: Clock, metrics: Instruments) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._clients: list[ChatClient] = []
        self._watches: list[ModelWatch] = []
        self.generator = self._build_generator()
        self.labeler, self.checks = self._build_guards()

    def health(self) -> list[ModelHealth]:
        """Return the health of each model. From any thread."""
        return [watch.health() for watch in self._watches]

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.aclose()

    def _build_generator(self) -> OpenAiGenerator:
        asked = self._settings.generation
        endpoint = Endpoint(
            name=LlmRole.GENERATOR.value,
            base_url=asked.base_url,
            request_timeout_s=asked.request_timeout_s,
            connect_timeout_s=asked.connect_timeout_s,
            concurrency_max=asked.concurrency_max,
            retries_max=asked.retries_max,
            backoff_initial_s=asked.backoff_initial_s,
            backoff_max_s=asked.backoff_max_s,
            breaker_failures=asked.breaker_failures,
            breaker_open_s=asked.breaker_open_s,
            rest_max_s=asked.rest_max_s,
            response_bytes_max=asked.response_bytes_max,
        )
        client = self._client(endpoint, asked.api_key.reveal(), asked.model, LlmRole.GENERATOR)
        defaults = GenerationDefaults(
            model=asked.model,
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            forward_seed=asked.forward_seed,
            continue_final_message=asked.continue_final_message,
        )
        return OpenAiGenerator(client, defaults)

    def _build_guards(self) -> tuple[Labeler, tuple[Check, ...]]:
        guard = self._settings.guard
        if not guard.judge_base_url:
            return self._gated_labeler(), ()
        endpoint = Endpoint(
            name=LlmRole.JUDGE.value,
            base_url=guard.judge_base_url,
            request_timeout_s=guard.judge_timeout_s,
            concurrency_max=guard.judge_concurrency_max,
        )
        client = self._client(endpoint, guard.judge_api_key.reveal(), guard.judge_model, LlmRole.JUDGE)
        bounds = GuardBounds(
            model=guard.judge_model,
            prompts=guard.judge_prompts,
            groups_max=guard.judge_groups_max,
        )
        clock, trace = self._clock, _span_headers

        def check_of(policy: PolicyBundle) -> LlmCheck:
            return LlmCheck(client, bounds, bundle=policy, clock=clock, trace=trace)

        def labeler_of(policy: PolicyBundle) -> LlmLabeler:
            return LlmLabeler(client, bounds, bundle=policy, clock=clock, trace=trace)

        check = TracedCheck(PolicyCheck(StageName.GUARD_LLM.value, bounds.model, check_of))
        if guard.labeler == "embedded":
            return self._gated_labeler(), (check,)
        return TracedLabeler(PolicyLabeler(labeler_of)), (check,)

    def _gated_labeler(self) -> Labeler:
        guard, timeout_s = self._settings.guard, self._settings.limits.assess_timeout_s
        bounds = LimiterBounds(most=LABELLED_PER_THREAD * guard.encoder_threads, slow_s=timeout_s * SLOW_SHARE)
        name = StageName.ASSESS.value
        gate = Gate(name, Limiter(bounds), self._clock.monotonic_s, concurrency_gauges(self._metrics, name))
        return GatedLabeler(embedded_labeler(guard, timeout_s), gate)

    def _client(self, endpoint: Endpoint, api_key: str, model: str, role: LlmRole) -> ChatClient:
        def observe(call: Call) -> None:
            self._metrics.observe(
                Metric.LLM_REQUEST_DURATION,
                call.duration_s,
                model=model,
                role=role.value,
                outcome=call.outcome.value,
            )
            if call.outcome is not Outcome.OK:
                self._metrics.count(Metric.LLM_ERRORS, model=model, reason=call.outcome.value)
            self._metrics.gauge_set(Metric.LLM_CIRCUIT_STATE, BREAKER_LEVELS[client.breaker_state], model=model)
            _watched(watch, call, client.breaker_state)

        client = ChatClient(
            endpoint,
            clock=self._clock,
            api_key=api_key,
            jitter=random.random,
            observe=observe,
            on_change=concurrency_gauges(self._metrics, role.value),
        )
        watch = ModelWatch(
            role.value,
            model,
            urlsplit(endpoint.base_url).netloc,
            rest_left_s=lambda: client.rest_left_s,
            monotonic_s=self._clock.monotonic_s,
        )
        self._clients.append(client)
        self._watches.append(watch)
        self._metrics.gauge_set(Metric.LLM_CIRCUIT_STATE, BREAKER_LEVELS[client.breaker_state], model=model)
        return client


def _watched(watch: ModelWatch, call: Call, state: BreakerState) -> None:
    """Tell a model's watch of one call, after the breaker was told."""
    if call.outcome is Outcome.OK:
        watch.answered()
    else:
        watch.failed(call.reason, is_open=state is not BreakerState.CLOSED)


def prompt_compiler(asked: GenerationSettings) -> CompilePrompt:
    """Return the function that writes the prompt for a case, in the words of the case's own policy and tenant."""
    marks = TurnMarks(own_marks(asked))
    wordings = PerPolicy(wording)

    def compile_for(case: Case, plan: Plan, feedback: str, released: str) -> tuple[Message, ...]:
        words, tenant = wordings.of(case.bundle), tenant_text(case.overlay)
        return compile_prompt(
            words, plan, case.event, tenant, state=case.state, feedback=feedback, released=released, marks=marks
        )

    return compile_for


class GatedLabeler:
    """A labeller behind a gate."""

    def __init__(self, labeler: Labeler, gate: Gate) -> None:
        self._labeler = labeler
        self._gate = gate

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """See `Labeler.label`. Raises TooLate if its turn comes too late for the event's deadline."""
        async with self._gate.turn(DEADLINE_S.get()):
            return await self._labeler.label(event, policy)


class TracedLabeler:
    """A labeller whose model call gets a span of its own."""

    def __init__(self, labeler: Labeler) -> None:
        self._labeler = labeler

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """See `Labeler.label`."""
        trace = CURRENT_TRACE.get()
        if trace is None:
            return await self._labeler.label(event, policy)
        with trace.chat(LlmRole.LABELER.value, 1):
            return await self._labeler.label(event, policy)


class TracedCheck:
    """A check whose model call gets a span of its own."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self.name = check.name
        self.version = check.version

    async def check(self, given: CheckInput) -> CheckReport:
        """See `Check.check`."""
        trace = CURRENT_TRACE.get()
        if trace is None:
            return await self._check.check(given)
        with trace.chat(LlmRole.JUDGE.value, given.attempt):
            return await self._check.check(given)


def _span_headers() -> Mapping[str, str]:
    """Return the trace context of the innermost span, for the model's HTTP request."""
    span = CURRENT_SPAN.get()
    context: SpanContext | None = span.get_span_context() if span is not None else None
    return carrier(context) if context is not None else {}
