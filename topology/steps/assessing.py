"""The assessment of a request: its labels, or the reason why the labeller could not tell."""

from topology.contract.errors import CheckFailed, TooLate
from topology.contract.labels import GuardRun, Outcome, RequestLabels
from topology.contract.names import StageName
from topology.decision.ceilings import settled_age
from topology.ports import Clock, Labeler
from topology.steps.audit import TextDigest
from topology.steps.case import Case
from topology.steps.checking import note_stage
from topology.steps.taking_up import taken_up
from topology.steps.time_limit import ServiceTimeLimit
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric


class Assessing:
    """A labeller that is given at most `timeout_s` of service a request. `digest` is the one of published answers."""

    def __init__(
        self, *, labeler: Labeler, digest: TextDigest, timeout_s: float, clock: Clock, metrics: Instruments
    ) -> None:
        self._labeler = labeler
        self._digest = digest
        self._timeout_s = timeout_s
        self._clock = clock
        self._metrics = metrics

    async def assess(self, case: Case) -> RequestLabels:
        """Return the labels of the request, with the user's age settled, and add the run to `case.guards`.

        Raises CheckFailed, with the stage as its guard, if the labeller could not tell, and TooLate if it never began.
        """
        started_s = self._clock.monotonic_s()
        outcome, version = Outcome.OK, ""
        with case.trace.guard_input() as span:
            try:
                with ServiceTimeLimit(self._timeout_s):
                    labels = await self._labeler.label(case.event, case.bundle)
            except TimeoutError as exc:
                outcome = Outcome.TIMEOUT
                raise CheckFailed(outcome, StageName.ASSESS.value, "no labels in time") from exc
            except TooLate:
                span.failed(Outcome.OVERLOADED.value)
                raise
            except CheckFailed as exc:
                outcome = exc.outcome
                raise CheckFailed(exc.outcome, StageName.ASSESS.value, exc.detail) from exc
            except Exception as exc:
                outcome = Outcome.CRASHED  # a labeller that raises could not tell
                raise CheckFailed(outcome, StageName.ASSESS.value, type(exc).__name__) from exc
            else:
                span.labels(labels)
                if labels.partly_read is not None:
                    self._metrics.count(Metric.PARTLY_READ, stage=StageName.ASSESS)
                version = labels.labeler.version
                return settled_age(
                    taken_up(labels, case.event, case.state, self._digest),
                    case.event.user,
                    case.state,
                    is_statement_stronger=case.overlay.heeds_stated_age,
                )
            finally:
                if outcome is not Outcome.OK:
                    span.failed(outcome.value)
                self._note(case, self._clock.monotonic_s() - started_s, outcome, version)

    def _note(self, case: Case, latency_s: float, outcome: Outcome, version: str) -> None:
        note_stage(self._metrics, StageName.ASSESS, latency_s, outcome)
        latency_ms = round(latency_s * 1000, 3)
        case.guards.append(
            GuardRun(guard=StageName.ASSESS.value, version=version, outcome=outcome, latency_ms=latency_ms)
        )
