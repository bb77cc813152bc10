"""The step of drafting where text may leave before its answer is whole: which events, and how they begin and end."""

from topology.contract.labels import Mode, Plan
from topology.ports import Clock, ReleasesFactory
from topology.steps.case import Case, Decision
from topology.steps.drafting import Drafting
from topology.streamed.answering import Answering, Parts, StreamBounds
from topology.streamed.releasing import Releasing
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
        if case.streamed is None or case.event.candidate is not None or plan.mode in WHOLE_MODES:
            return await self._drafting.decide(case, plan)
        return await Answering(self._parts, case, plan).decide()
