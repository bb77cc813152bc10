"""One answer that leaves while it is written: released by segments, stopped at a fault, continued, or closed.

    generate ─► segments ─► hold back ─► judge ─► release ┐            end of the text: the whole is judged again
        ▲                                    │ fault       └─► ...
        └── go on from what was released ◄───┴─► the policy's own words after it

It always ends: every further draft spends the budget, and the last resort needs no model. What has left stays.
"""

import asyncio
from dataclasses import dataclass

from msgspec import Struct, structs

from topology.contract.drafts import Draft
from topology.contract.errors import RetryLater
from topology.contract.events import Action, Attempt, Message, Usage
from topology.contract.labels import (
    Extent,
    Outcome,
    OutputLabels,
    Plan,
    ReleasedText,
    SideEffect,
    Span,
    Verdict,
    VerdictKind,
)
from topology.contract.names import DraftSource
from topology.decision import templates
from topology.decision.judge import REDACTION_MARK, apply_redactions
from topology.decision.plan import tighten
from topology.ports import Clock
from topology.steps.audit import Answer, well_formed
from topology.steps.case import Case, Decision
from topology.steps.drafting import Drafting
from topology.streamed.releasing import Releasing, joined
from topology.streaming.holdback import HoldBack, HoldBounds, Window, shortened, touching_from
from topology.streaming.segments import SegmentBounds, Segmenter
from topology.streaming.stitching import Stitch
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

READINGS_MAX = 4
"""Judgements of one window: as it came, without what touches its end, redacted, and one more for a match beside one."""

CLOSINGS: dict[VerdictKind, tuple[templates.Kind, Action]] = {
    VerdictKind.REFUSE: ("refuse", Action.REFUSED),
    VerdictKind.ESCALATE: ("withheld", Action.WITHHELD),
}
"""The policy's words after which nothing more is drafted; any other verdict ends with those for a safe completion."""

MISSING = "missing:"

OPEN_WAIT_S = 0.1
"""How long the generator is not asked, because earlier runs may have released text: the run is opened beside the
assessment, and mostly before its end. Later, the first release waits for it, and a request may have been in vain."""


class StreamBounds(Struct, frozen=True, kw_only=True):
    """The bounds of streamed answers. `tokens_max` are those that the generator allows an answer without a wish.

    `model` is the generator's, as settings name it: a server names it only with its answer's end. `open_timeout_s`
    bounds how long a decided event waits for its run to be read back.
    """

    segments: SegmentBounds = SegmentBounds()
    hold: HoldBounds = HoldBounds()
    model: str = ""
    tokens_max: int = 512
    open_timeout_s: float = 5.0


STREAMS = StreamBounds()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the streamed answers of a worker share."""

    drafting: Drafting
    releasing: Releasing
    bounds: StreamBounds
    clock: Clock
    metrics: Instruments


class _Begun(Exception):
    """An earlier run has released text, which this run goes on from. `args` is (the text,)."""


class Answering:
    """The way of one streamed answer from its plan to its decision. Used once."""

    def __init__(self, parts: Parts, case: Case, plan: Plan) -> None:
        self._drafting, self._releasing = parts.drafting, parts.releasing
        self._bounds, self._clock, self._metrics = parts.bounds, parts.clock, parts.metrics
        self._case, self._plan = case, plan
        self._hold = HoldBack(parts.bounds.hold)
        self._count, self._action = 1, Action.PUBLISHED
        self._prompt_plan, self._feedback = plan, ""
        self._is_begun = False
        self._has_left_redacted = self._is_redacted = False
        self._model = parts.bounds.model

    async def decide(self) -> Decision:
        """Return the decision. Raises CheckFailed if no draft can be had for this request."""
        self._case.revisions_max = self._drafting.revisions_max(self._case.event)
        try:
            if await self._releasing.is_opened(self._case, OPEN_WAIT_S):
                await self._begin()
            return await self._answered()
        except _Begun as begun:
            return await self._resumed(str(begun.args[0]))

    async def _answered(self) -> Decision:
        while True:  # bounded: `_closed` spends the budget, or ends
            fault = await self._draft()
            if isinstance(fault, Draft):
                fault = await self._whole(fault)
            if isinstance(fault, Decision):
                return fault
            closed = self._closed(fault)
            if closed is not None:
                return closed

    async def _resumed(self, prefix: str) -> Decision:
        """Go on from the text that earlier runs released: it is judged again, and never taken back."""
        case = self._case
        assert case.streamed is not None
        self._has_left_redacted = REDACTION_MARK in prefix
        self._renew(prefix)
        source = DraftSource.REDACTION if self._is_redacted else DraftSource.GENERATOR
        case.streamed.pieces.append(ReleasedText(length=len(prefix), source=source))
        case.streamed.shown = prefix
        attempt = await self._judged(prefix, Extent.PREFIX)
        self._drafting.record(case, attempt)
        if attempt.verdict.verdict is not VerdictKind.PUBLISH:
            return self._over(attempt)
        self._releasing.note(case, attempt.labels)
        if not case.streamed.releases.has_last:
            return await self._answered()
        self._hold.take((), is_end=True)
        fault = await self._whole(Draft(text="", source=DraftSource.GENERATOR))
        return fault if isinstance(fault, Decision) else self._over(fault)

    async def _draft(self) -> Draft | Attempt:
        """Return the answer's next draft, of which a part may have left, or the judgement that stopped it."""
        case, tries = self._case, self._drafting.tries(self._case)
        while True:  # bounded by `tries`, and by the event's deadline, which cancels this task
            shown = self._hold.shown
            self._renew(shown)
            messages = self._drafting.prompt(case, self._prompt_plan, self._feedback, shown)
            ended = await self._listened(messages, continues=bool(shown))
            if isinstance(ended, Attempt):
                return ended
            if isinstance(ended, Draft) and self._hold.text.strip():
                case.trouble = None
                return ended
            await tries.failed(ended)

    def _renew(self, shown: str) -> None:
        """Forget what has not left."""
        self._hold = HoldBack(self._bounds.hold, shown)
        self._is_redacted = self._has_left_redacted

    async def _listened(self, messages: tuple[Message, ...], *, continues: bool) -> Draft | RetryLater | Attempt:
        """Return what one request brings. Text is judged and leaves meanwhile; a fault closes the request at once."""
        hold, segmenter, stitch = self._hold, Segmenter(self._bounds.segments), Stitch(self._hold.shown)
        arrived = asyncio.Event()
        pieces = 0

        async def on_text(text: str) -> None:
            nonlocal pieces
            pieces += 1
            hold.take(segmenter.feed(stitch.feed(well_formed(text)), self._clock.monotonic_s() * 1000))
            if hold.is_unjudged:
                arrived.set()

        ask = self._drafting.ask(self._case, self._count, messages, on_text, continues=continues)
        asking = asyncio.ensure_future(ask)
        asking.add_done_callback(lambda _: arrived.set())
        try:
            while not asking.done():
                await arrived.wait()
                arrived.clear()
                while hold.is_unjudged and not asking.done():
                    fault = await self._passed_on()
                    if fault is not None:
                        return self._stopped(fault, asking, pieces)
            asked = asking.result()
        except BaseException:
            self._count_output(0 if asking.done() else pieces)  # closed without a judgement
            raise
        finally:
            await _ended(asking)
        if isinstance(asked, Draft):
            self._model = asked.model
            rest = segmenter.feed(stitch.end(), self._clock.monotonic_s() * 1000)
            hold.take((*rest, *segmenter.end()), is_end=True)
        return asked

    def _stopped(self, fault: Attempt, asking: "asyncio.Future[Draft | RetryLater]", pieces: int) -> Attempt:
        """Record the judgement that stops a draft, with what the draft cost: a piece of text is about a token."""
        usage = Usage(output_tokens=pieces)
        is_answered = asking.done() and not asking.cancelled() and asking.exception() is None
        if is_answered and isinstance(asked := asking.result(), Draft):
            usage = asked.usage
        else:
            asking.cancel()
            self._count_output(pieces)
            allowed = min(self._case.event.generation.max_tokens or self._bounds.tokens_max, self._bounds.tokens_max)
            self._metrics.count(Metric.STREAM_ABORTS, verdict=fault.verdict.verdict)
            self._metrics.count(Metric.STREAM_TOKENS_SAVED, max(0, allowed - pieces))
        fault = structs.replace(fault, usage=usage)
        self._drafting.record(self._case, fault)
        return fault

    def _count_output(self, tokens: int) -> None:
        """Count the output of a request that was closed: a piece of text is about a token."""
        self._case.usage = structs.replace(self._case.usage, output_tokens=self._case.usage.output_tokens + tokens)

    async def _passed_on(self) -> Attempt | None:
        """Judge what is held, and let leave what may; return the judgement if it is a fault."""
        hold, window = self._hold, self._hold.window()
        self._metrics.observe(Metric.STREAM_HELD, len(hold.held))
        attempt = await self._judged(window.text, Extent.PREFIX)
        for _ in range(READINGS_MAX - 1):
            redacted = self._redacted(window, attempt.verdict)
            if redacted is None:
                break
            window = redacted
            if len(window.text) == window.held_from:  # nothing but what may go on
                hold.passed(window)
                return None
            attempt = await self._judged(window.text, Extent.PREFIX)
        if attempt.verdict.verdict is not VerdictKind.PUBLISH:
            return attempt
        labels = attempt.labels
        leaving = hold.passed(window, spans=_matches(labels), is_bare_refusal=labels.is_bare_refusal)
        await self._leave(leaving, labels)
        return None

    def _redacted(self, window: Window, verdict: Verdict) -> Window | None:
        """Return the window without what is to be cut out, or to be held; None if that does not help."""
        spans = verdict.redactions
        if verdict.verdict is not VerdictKind.REDACT or any(span.start < window.held_from for span in spans):
            return None
        held_to = len(window.text) if window.is_end else touching_from(window.text, spans)
        if held_to < len(window.text):
            return shortened(window, held_to)
        self._is_redacted = True
        return self._hold.redacted(window, apply_redactions(window.text, spans))

    async def _whole(self, draft: Draft) -> Decision | Attempt:
        """Judge the whole answer; publish or close it, or return the judgement if another draft may mend it."""
        await self._begin()
        has_shown = bool(self._hold.shown)
        attempt = await self._judged(self._hold.text, Extent.WHOLE, draft)
        binding = self._as_prefix(attempt) if has_shown else attempt
        if self._redacted(self._hold.window(), binding.verdict) is not None:
            self._drafting.record(self._case, binding)
            attempt = await self._judged(self._hold.text, Extent.WHOLE, structs.replace(draft, usage=Usage()))
            binding = self._as_prefix(attempt) if has_shown else attempt
        if attempt.verdict.verdict is VerdictKind.PUBLISH:
            self._drafting.record(self._case, attempt)
            return await self._published(attempt)
        if has_shown and binding.verdict.verdict is VerdictKind.PUBLISH:
            return await self._mended(attempt)
        self._drafting.record(self._case, binding)
        shown_fault = await self._shown_fault(binding) if has_shown else None
        return binding if shown_fault is None else self._over(shown_fault)

    async def _published(self, attempt: Attempt, appended: str = "") -> Decision:
        """Let the rest of the answer leave, which was judged last, and then the policy's words that were added."""
        hold = self._hold
        leaving = hold.passed(hold.window())
        await self._leave(leaving, attempt.labels, is_last=not appended)
        if appended:
            self._renew(hold.shown + appended)
            piece = ReleasedText(length=len(appended), source=DraftSource.TEMPLATE, attempt=self._count)
            await self._releasing.release(self._case, appended, piece, shown=self._hold.shown, is_last=True)
        answer = Answer(text=self._hold.shown, source=attempt.source, mode=self._plan.mode)
        action = Action.REDACTED if attempt.source is DraftSource.REDACTION else self._action
        return self._drafting.published(self._case, answer, action, attempt.verdict)

    async def _mended(self, attempt: Attempt) -> Decision:
        """Mend what a whole answer lacks by adding to it: no other draft can take the place of what has left."""
        case, plan, user = self._case, self._plan, self._case.event.user
        spent = case.revisions_max + 1  # no further draft may follow
        verdict = self._drafting.verdict(case, plan, attempt.labels, spent)
        attempt = structs.replace(attempt, verdict=verdict)
        self._drafting.record(case, attempt)
        if verdict.verdict is VerdictKind.PUBLISH:
            return await self._published(attempt)
        owed = templates.owed(
            case.bundle, plan, _missing(verdict), locale=user.locale, region=user.region, overlay=case.overlay
        )
        if owed:
            whole = joined(self._hold.text, owed)
            attempt = await self._judged(whole, Extent.WHOLE, count=spent)
            self._drafting.record(case, attempt)
            if attempt.verdict.verdict is VerdictKind.PUBLISH:
                return await self._published(attempt, whole[len(self._hold.text) :])
        return self._ended_by(attempt.verdict)

    async def _shown_fault(self, fault: Attempt) -> Attempt | None:
        """Return the judgement by which the whole answer's fault lies in what has left; None if it does not.

        What was judged in windows only has not been judged as a whole before; that is done now.
        """
        hold = self._hold
        if not hold.held or any(span.start < len(hold.shown) for span in fault.verdict.redactions):
            return fault
        if len(hold.text) <= self._bounds.hold.context_characters:
            return None
        alone = await self._judged(hold.shown, Extent.PREFIX)
        if alone.verdict.verdict is VerdictKind.PUBLISH:
            return None
        self._drafting.record(self._case, alone)
        return alone

    def _closed(self, fault: Attempt) -> Decision | None:
        """Return the end of an answer whose draft was stopped by `fault`; None if another draft goes on."""
        verdict, case = fault.verdict, self._case
        is_final = verdict.verdict in (VerdictKind.REFUSE, VerdictKind.ESCALATE)
        if is_final or self._count > case.revisions_max:
            return self._ended_by(verdict)
        self._metrics.count(Metric.REGENERATIONS)
        self._feedback = templates.feedback(case.bundle, verdict, fault.labels)
        self._count += 1
        self._prompt_plan = self._plan
        if verdict.verdict is not VerdictKind.REVISE:
            self._prompt_plan, self._action = tighten(self._plan), Action.SAFE_COMPLETED
        return None

    def _over(self, fault: Attempt) -> Decision:
        """Close an answer in whose released text a fault was found, or no check could tell: a person looks at it."""
        decision = self._ended_by(fault.verdict)
        if any(run.outcome is not Outcome.OK for run in fault.labels.guards):
            return decision
        self._releasing.note_over(self._case, fault.labels)
        effects = (*decision.side_effects, SideEffect.HUMAN_REVIEW, SideEffect.ALARM)
        return structs.replace(decision, side_effects=tuple(dict.fromkeys(effects)))

    def _ended_by(self, verdict: Verdict) -> Decision:
        """Return the end of an answer that no draft goes on with: the policy's words, after what has left."""
        kind, action = CLOSINGS.get(verdict.verdict, ("safe_complete", Action.SAFE_COMPLETED))
        decision = self._drafting.fallback(self._case, self._plan, kind, action, verdict)
        answer = structs.replace(decision.answer, text=joined(self._hold.shown, decision.answer.text))
        return structs.replace(decision, answer=answer)

    async def _judged(self, text: str, extent: Extent, draft: Draft | None = None, count: int = 0) -> Attempt:
        source = DraftSource.REDACTION if self._is_redacted else DraftSource.GENERATOR
        draft = draft or Draft(text="", source=source, model=self._model)
        draft = structs.replace(draft, text=text, source=source, is_partial=extent is Extent.PREFIX)
        return await self._drafting.judged(self._case, self._plan, draft, count or self._count, extent)

    def _as_prefix(self, attempt: Attempt) -> Attempt:
        """Return the judgement by the same labels, as far as they count for an answer that may go on."""
        verdict = self._drafting.verdict(self._case, self._plan, attempt.labels, self._count, Extent.PREFIX)
        return structs.replace(attempt, verdict=verdict, extent=Extent.PREFIX)

    async def _begin(self) -> None:
        """Wait until this run was read back. Raises _Begun if earlier ones have released text."""
        if self._is_begun:
            return
        self._is_begun = True
        prefix = await self._releasing.begun(self._case)
        if prefix:
            raise _Begun(prefix)

    async def _leave(self, text: str, labels: OutputLabels, *, is_last: bool = False) -> None:
        """Let a text leave that was judged, and counts as shown."""
        if not text and not is_last:
            return
        await self._begin()
        self._has_left_redacted = self._has_left_redacted or self._is_redacted
        self._releasing.note(self._case, labels)
        is_marked = self._is_redacted and REDACTION_MARK in text
        source = DraftSource.REDACTION if is_marked else DraftSource.GENERATOR
        piece = ReleasedText(length=len(text), source=source, model=self._model, attempt=self._count)
        await self._releasing.release(self._case, text, piece, shown=self._hold.shown, is_last=is_last)


def _matches(labels: OutputLabels) -> list[Span]:
    """Return the matches of recognisers: a text that one touches may go on with more of it."""
    return [*labels.leak_spans, *(span for finding in labels.findings for span in finding.spans)]


def _missing(verdict: Verdict) -> list[str]:
    return [flag.removeprefix(MISSING) for flag in verdict.flags if flag.startswith(MISSING)]


async def _ended(asking: "asyncio.Future[Draft | RetryLater]") -> None:
    """Close a request that still runs, and wait for its end; its error, if any, was or will be raised elsewhere."""
    asking.cancel()
    await asyncio.wait([asking])
    if not asking.cancelled():
        asking.exception()
