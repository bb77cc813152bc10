"""The step of drafting where text may leave before its answer is whole: which events, and how they begin and end."""

from msgspec import structs

from topology.contract.drafts import Draft
from topology.contract.labels import Extent, Mode, Plan, ReleasedText, SideEffect, VerdictKind
from topology.contract.names import DraftSource
from topology.ports import Clock, ReleasesFactory
from topology.steps.audit import DRAFT_SOURCES
from topology.steps.case import Case, Decision
from topology.steps.drafting import Drafting
from topology.streamed.answering import Answering, Parts, StreamBounds
from topology.streamed.releasing import Releasing, joined
from topology.telemetry.instruments import Instruments

WHOLE_MODES = (Mode.CRISIS_SUPPORT, Mode.EMERGENCY_GUIDANCE)
"""The modes whose answers leave whole: who is in danger reads no half of one."""


class Streaming:
    """The drafting of all events; answers leave by segments where that is asked, and whole if `make` is None."""

    def __init__(
        self, drafting: Drafting, make: ReleasesFactory | None, bounds: StreamBounds, clock: Clock, metrics: Instruments
    ) -> None:
        self.releasing = Releasing(make, bounds.open_timeout_s, clock, metrics)
        self._drafting = drafting
        self._parts = Parts(drafting, self.releasing, bounds, clock, metrics)

    async def decide(self, case: Case, plan: Plan) -> Decision:
        """Draft until an answer may be published; see `Drafting.decide`. Text of it may leave meanwhile."""
        if case.streamed is None:
            return await self._drafting.decide(case, plan)
        if case.event.candidate is not None or plan.mode in WHOLE_MODES:
            return await self._after_prefix(case, plan, await self._drafting.decide(case, plan))
        return await Answering(self._parts, case, plan).decide()

    async def _after_prefix(self, case: Case, plan: Plan, decision: Decision) -> Decision:
        """Let a whole answer follow the text that earlier runs released, under another plan: judged as one.

        Where that does not pass, the answer takes the place of that text.
        """
        prefix, streamed = await self.releasing.begun(case), case.streamed
        answer = decision.answer
        if streamed is None or not prefix or answer.source not in DRAFT_SOURCES:
            return decision
        streamed.shown = prefix
        streamed.pieces.append(ReleasedText(length=len(prefix), source=DraftSource.GENERATOR))
        whole, spent = joined(prefix, answer.text), case.revisions_max + 1
        draft = Draft(text=whole, source=answer.source, model=case.attempts[-1].model)
        attempt = await self._drafting.judged(case, plan, draft, spent)
        if attempt.verdict.verdict is VerdictKind.PUBLISH:
            self._drafting.record(case, attempt)
            return structs.replace(decision, answer=structs.replace(answer, text=whole, parts=()))
        published = case.attempts.pop()  # the published one stands last
        self._drafting.record(case, attempt)
        alone = await self._drafting.judged(case, plan, structs.replace(draft, text=prefix), spent, Extent.PREFIX)
        if alone.verdict.verdict is not VerdictKind.PUBLISH:
            self._drafting.record(case, alone)
            self.releasing.note_over(case, alone.labels)
            effects = (*decision.side_effects, SideEffect.HUMAN_REVIEW, SideEffect.ALARM)
            decision = structs.replace(decision, side_effects=tuple(dict.fromkeys(effects)))
        case.attempts.append(published)
        self.releasing.silence(case, "another answer takes the place of what was shown")
        return decision
