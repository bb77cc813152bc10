"""The loop of drafting: a draft is made, checked and judged, and revised within a budget until one may be published.

It always ends: every further draft spends the budget, a redaction happens once, and the last resort is the policy's own
text, which needs no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.errors import CheckFailed, RetryLater, TooLate
from topology.contract.events import Action, Attempt, ConversationEvent, Message, Usage, parts_text
from topology.contract.labels import NONE, Extent, Outcome, OutputLabels, Plan, Verdict, VerdictKind
from topology.contract.names import ActionReason, DraftSource, LlmRole, OnBlocked, StageName
from topology.decision import templates
from topology.decision.judge import apply_redactions, judge
from topology.decision.plan import tighten
from topology.decision.prefixes import labels_for
from topology.decision.reports import merge_reports
from topology.load.gate import DEADLINE_S
from topology.ports import Check, CheckInput, Clock, Generator, OnText
from topology.steps.audit import Answer
from topology.steps.case import Case, Decision
from topology.steps.checking import Checked, run_checks
from topology.steps.time_limit import TimeLimit
from topology.steps.withholding import NOTHING_LABELLED, NOTHING_PLANNED
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

CompilePrompt = Callable[[Case, Plan, str, str], tuple[Message, ...]]
"""A function of (case, plan in force, feedback or "", released text or "") that returns the messages to send.

After a text that was released, the last two messages are that text and the request to go on with it."""

GENERATE_BACKOFF_FACTOR = 2.0
"""The factor between one backoff and the next while the generator is down, up to `backoff_max_s`."""

EMPTY_ANSWERS_MAX = 2
"""Answers without a text after which no further one is asked for: a model that used up its tokens by reasoning, or that
calls tools which nobody offered, does so again, and each try costs a whole generation."""

FINAL_REASONS = frozenset({"stop", "length", "tool_calls", "function_call", "content_filter"})
"""The reasons with which a model ends by itself; any other one means that its server broke off."""

_REFUSING_REASONS = FINAL_REASONS - {"stop", "length"}


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of drafting. `candidate_regenerate` says whether a candidate that fails may be replaced by a new draft."""

    revisions_max: int
    candidate_regenerate: bool
    checks_timeout_s: float
    """The longest service of a check that does not bound itself."""
    attempts_max: int
    """The most requests for one draft."""
    backoff_initial_s: float
    backoff_max_s: float


class Try(Struct, frozen=True, kw_only=True):
    """A draft, the action that its publication would be, and the number of drafts up to it."""

    draft: Draft
    action: Action
    count: int


class Drafting:
    """The way from a planned case to a decision. `jitter` returns numbers in [0, 1).

    `prompt_hash` identifies, in audit records, the template that `compile_prompt` begins with; empty: none is named.
    """

    def __init__(
        self,
        *,
        generator: Generator,
        checks: Sequence[Check],
        compile_prompt: CompilePrompt,
        prompt_hash: str = "",
        budget: Budget,
        clock: Clock,
        metrics: Instruments,
        jitter: Callable[[], float],
    ) -> None:
        self._generator = generator
        self._checks = tuple(checks)
        self._required = frozenset(check.name for check in self._checks)
        self._compile_prompt = compile_prompt
        self._prompt_hash = prompt_hash
        self._budget = budget
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter

    async def decide(self, case: Case, plan: Plan) -> Decision:
        """Draft until an answer may be published. Raises CheckFailed if no draft can be had for this request."""
        case.revisions_max = self.revisions_max(case.event)
        current = Try(draft=await self._first_draft(case, plan), action=Action.PUBLISHED, count=1)
        while True:  # bounded: `_next` spends the budget or the one redaction, or ends
            attempt = await self.judged(case, plan, current.draft, current.count)
            self.record(case, attempt)
            outcome = await self._next(case, plan, current, attempt)
            if isinstance(outcome, Decision):
                return outcome
            current = outcome

    async def log_request(self, case: Case) -> None:
        """Fill `case.request_log` for a case without a checked draft, as far as the logging stage can.

        The event's deadline may have passed, so this has `checks_timeout_s` of its own, time in the queue included.
        """
        given = CheckInput(
            event=case.event,
            labels=case.labels or NOTHING_LABELLED,
            plan=case.plan or NOTHING_PLANNED,
            draft=Draft(text="", source=DraftSource.NONE),
            attempt=0,
            policy=case.bundle,
        )
        logging = [check for check in self._checks if check.name == StageName.LOGGING]
        own_deadline = DEADLINE_S.set(self._clock.monotonic_s() + self._budget.checks_timeout_s)
        try:
            with TimeLimit(self._budget.checks_timeout_s):
                checked = await self._run(logging, case, given)
        except (TimeoutError, TooLate):  # the request stays out of the audit record
            return
        finally:
            DEADLINE_S.reset(own_deadline)
        self._note_request(case, checked.report_of(StageName.LOGGING))

    async def _first_draft(self, case: Case, plan: Plan) -> Draft:
        candidate = case.event.candidate
        if candidate is None:
            return await self._generate(case, plan, 1, "")
        return Draft(
            text=parts_text(candidate.parts),
            source=DraftSource.CANDIDATE,
            model=candidate.model,
            response_id=candidate.response_id,
        )

    async def judged(self, case: Case, plan: Plan, draft: Draft, count: int, extent: Extent = Extent.WHOLE) -> Attempt:
        """Have a draft checked, and judge it as the draft number `count`, whole or as a prefix."""
        assert case.labels is not None
        given = CheckInput(
            event=case.event,
            labels=case.labels,
            plan=plan,
            draft=draft,
            attempt=len(case.attempts) + 1,
            policy=case.bundle,
        )
        with case.trace.guard_output() as span:
            checked = await self._run(self._checks, case, given)
            labels = merge_reports(checked.reports, checked.runs)
            verdict = self.verdict(case, plan, labels, count, extent)
            span.verdict(verdict)
        logged = checked.report_of(StageName.LOGGING)
        self._note_request(case, logged)
        return Attempt(
            source=draft.source,
            draft=logged.draft_log if logged is not None else None,
            labels=labels,
            verdict=verdict,
            model=draft.model,
            response_id=draft.response_id,
            usage=draft.usage,
            extent=extent,
        )

    def verdict(
        self, case: Case, plan: Plan, labels: OutputLabels, count: int, extent: Extent = Extent.WHOLE
    ) -> Verdict:
        """Return the verdict on a draft with these labels, as the draft number `count`."""
        assert case.labels is not None
        return judge(
            case.bundle,
            plan,
            case.labels,
            labels_for(extent, labels, plan),
            required=self._required,
            overlay=case.overlay,
            user=case.event.user,
            grants=case.granted,
            attempts=count,
            revisions_max=case.revisions_max,
            trace_id=case.trace.trace_id,
            state=case.state,
        )

    def record(self, case: Case, attempt: Attempt) -> None:
        """Put a judged draft into the audit record, and count its verdict."""
        case.attempts.append(attempt)
        self._count(case, attempt.labels, attempt.verdict)

    async def _run(self, checks: Sequence[Check], case: Case, given: CheckInput) -> Checked:
        return await run_checks(
            checks,
            given,
            timeout_s=self._budget.checks_timeout_s,
            clock=self._clock,
            trace=case.trace,
            metrics=self._metrics,
        )

    async def _next(self, case: Case, plan: Plan, current: Try, attempt: Attempt) -> Try | Decision:
        labels, verdict = attempt.labels, attempt.verdict
        match verdict.verdict:
            case VerdictKind.PUBLISH:
                return self._release(case, plan, current, verdict)
            case VerdictKind.REFUSE:
                return self.fallback(case, plan, "refuse", Action.REFUSED, verdict)
            case VerdictKind.ESCALATE:
                return self.fallback(case, plan, "withheld", Action.WITHHELD, verdict)
            case VerdictKind.REDACT if current.action is not Action.REDACTED:
                text = apply_redactions(current.draft.text, verdict.redactions)
                redacted = Draft(text=text, source=DraftSource.REDACTION, model=current.draft.model)
                return Try(draft=redacted, action=Action.REDACTED, count=current.count)
            case VerdictKind.REVISE:
                return await self._again(case, plan, current, labels, verdict, action=current.action)
            case VerdictKind.SAFE_COMPLETE | VerdictKind.REDACT:
                return await self._again(case, tighten(plan), current, labels, verdict, action=Action.SAFE_COMPLETED)

    async def _again(
        self, case: Case, plan: Plan, current: Try, labels: OutputLabels, verdict: Verdict, *, action: Action
    ) -> Try | Decision:
        if current.count > case.revisions_max:
            return self.fallback(case, plan, "safe_complete", Action.SAFE_COMPLETED, verdict)
        self._metrics.count(Metric.REGENERATIONS)
        feedback = templates.feedback(case.bundle, verdict, labels)
        draft = await self._generate(case, plan, current.count + 1, feedback)
        action = Action.PUBLISHED if action is Action.REDACTED else action
        return Try(draft=draft, action=action, count=current.count + 1)

    async def _generate(self, case: Case, plan: Plan, attempt: int, feedback: str) -> Draft:
        messages = self.prompt(case, plan, feedback)
        tries = self.tries(case)
        while True:  # bounded by `tries`, and by the event's deadline, which cancels this task
            asked = await self.ask(case, attempt, messages)
            if isinstance(asked, Draft) and asked.text.strip():
                case.trouble = None
                return asked
            await tries.failed(asked)

    def prompt(self, case: Case, plan: Plan, feedback: str, released: str = "") -> tuple[Message, ...]:
        """Return the messages to send, and note the prompt's hash; `released` is text that the answer goes on from."""
        if self._prompt_hash:
            case.prompt_hashes[LlmRole.GENERATOR.value] = self._prompt_hash
        return self._compile_prompt(case, plan, feedback, released)

    def tries(self, case: Case) -> "Tries":
        """Return the tries of one draft."""
        return Tries(case, self._budget, self._metrics, self._jitter)

    async def ask(
        self,
        case: Case,
        attempt: int,
        messages: tuple[Message, ...],
        on_text: OnText | None = None,
        *,
        continues: bool = False,
    ) -> Draft | RetryLater:
        """Return the draft that one request brings, or the reason to try again later. The draft may have no text."""
        with case.trace.chat("generator", attempt, case.event.generation) as span:
            span.asked(messages)
            request = GenerationRequest(
                request_id=span.request_id,
                messages=messages,
                parameters=case.event.generation,
                deadline_s=case.deadline_s,
                headers=span.headers,
                continues=continues,
            )
            try:
                draft = await case.rest.during(self._generator.generate(request, on_text))
            except RetryLater as exc:
                span.failed(exc.outcome.value)
                return exc
            span.answered(draft)
            self._count_tokens(case, draft)
            return draft

    def revisions_max(self, event: ConversationEvent) -> int:
        """Return how many further drafts an event may have."""
        if event.candidate is None:
            return self._budget.revisions_max
        asked = event.candidate.on_blocked
        is_made_anew = self._budget.candidate_regenerate if asked is None else asked is OnBlocked.REGENERATE
        return self._budget.revisions_max if is_made_anew else 0

    def _note_request(self, case: Case, logged: CheckReport | None) -> None:
        if case.request_log is None and logged is not None:
            case.request_log = logged.request_log

    def _count(self, case: Case, labels: OutputLabels, verdict: Verdict) -> None:
        if case.event.canary is not None:
            return
        strictest = max(labels.findings, key=lambda finding: (finding.harm, finding.detail_hi), default=None)
        self._metrics.count(
            Metric.VERDICTS,
            stage=StageName.JUDGE,
            verdict=verdict.verdict,
            category=NONE if strictest is None else strictest.category,
            policy_version=case.bundle.version,
        )

    def _count_tokens(self, case: Case, draft: Draft) -> None:
        case.finish_reason = draft.finish_reason
        case.usage = Usage(
            input_tokens=case.usage.input_tokens + draft.usage.input_tokens,
            output_tokens=case.usage.output_tokens + draft.usage.output_tokens,
        )
        for kind, tokens in (("input", draft.usage.input_tokens), ("output", draft.usage.output_tokens)):
            self._metrics.count(Metric.LLM_TOKENS, tokens, model=draft.model, kind=kind)
            self._metrics.observe(Metric.LLM_REQUEST_TOKENS, tokens, case.trace.context, model=draft.model, kind=kind)

    def _release(self, case: Case, plan: Plan, current: Try, verdict: Verdict) -> Decision:
        candidate = case.event.candidate
        untouched = candidate is not None and current.draft.source is DraftSource.CANDIDATE
        answer = Answer(
            text=current.draft.text,
            source=current.draft.source,
            mode=plan.mode,
            parts=candidate.parts if untouched and candidate is not None else (),
        )
        return self.published(case, answer, current.action, verdict)

    def published(self, case: Case, answer: Answer, action: Action, verdict: Verdict) -> Decision:
        """Return the decision to publish the draft that was judged last."""
        if not self._is_screened(case.attempts[-1]):
            self._metrics.count(Metric.UNSCREENED_PUBLISHED)
        return _decision(action, answer, ActionReason.VERDICT, verdict)

    def _is_screened(self, attempt: Attempt) -> bool:
        """Return whether every required check judged the draft, whatever the policy makes of one that did not."""
        return self._required <= {run.guard for run in attempt.labels.guards if run.outcome is Outcome.OK}

    def fallback(self, case: Case, plan: Plan, kind: templates.Kind, action: Action, verdict: Verdict) -> Decision:
        """Return the policy's own text, as the end of an event whose drafts did not pass."""
        user = case.event.user
        text = templates.fallback(
            case.bundle, plan, kind=kind, locale=user.locale, region=user.region, overlay=case.overlay
        )
        reason = ActionReason.VERDICT
        if action is Action.WITHHELD:
            guards = case.attempts[-1].labels.guards
            failed = any(run.outcome is not Outcome.OK for run in guards)
            reason = ActionReason.GUARD_FAILED if failed else ActionReason.ESCALATED
        return _decision(action, Answer(text=text, source=DraftSource.TEMPLATE, mode=plan.mode), reason, verdict)


class Tries:
    """The tries to get one draft from the generator, with a backoff between them."""

    def __init__(self, case: Case, budget: Budget, metrics: Instruments, jitter: Callable[[], float]) -> None:
        self._case = case
        self._metrics = metrics
        self._jitter = jitter
        self._wait_s = budget.backoff_initial_s
        self._wait_max_s = budget.backoff_max_s
        self._left_count = budget.attempts_max
        self._empty_left_count = EMPTY_ANSWERS_MAX

    async def failed(self, asked: Draft | RetryLater) -> None:
        """Wait until the next try, after a failure or an answer without a text. Raises CheckFailed if there is none."""
        if isinstance(asked, Draft):
            self._empty_left_count -= asked.finish_reason in FINAL_REASONS
            asked = _no_answer(asked)
        self._case.trouble = asked
        self._left_count -= 1
        if not self._left_count or not self._empty_left_count:
            raise CheckFailed(asked.outcome, asked.backend, f"too many attempts: {asked.detail}") from asked
        self._metrics.count(Metric.RETRIES, reason=asked.outcome.value)
        await self._case.rest(asked.after_s + self._wait_s * (0.5 + self._jitter() / 2))
        self._wait_s = min(self._wait_max_s, self._wait_s * GENERATE_BACKOFF_FACTOR)


def _no_answer(draft: Draft) -> RetryLater:
    """Return the reason why an answer without a text is none."""
    outcome = Outcome.REFUSED if draft.finish_reason in _REFUSING_REASONS else Outcome.UNPARSABLE
    return RetryLater(outcome, LlmRole.GENERATOR.value, f"an answer without a text, ended by {draft.finish_reason}")


def _decision(action: Action, answer: Answer, reason: ActionReason, verdict: Verdict) -> Decision:
    return Decision(
        action=action,
        answer=answer,
        reason=reason,
        reason_codes=verdict.rule_ids,
        side_effects=verdict.side_effects,
    )
