"""The night watch of a worker: what goes wrong, as one log line for each kind and `EVERY_S`, without user text.

It looks at the worker's metrics, models and dead letters, and says what has changed since its last look, with counts. A
worker that does its work says nothing. What it said last is also in `sluicegate status`.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from topology.contract.events import Action
from topology.contract.labels import Outcome
from topology.contract.names import ActionReason, StageName
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.telemetry.letter_notes import LetterNotes
from workers.telemetry.model_health import ModelHealth, ModelState

logger = logging.getLogger("sluicegate.watch")

EVERY_S: Final = 10.0
"""Time between two looks."""
STOP_S: Final = 2.0
"""The longest wait for a look under way, when the worker ends."""

_EXPECTED_REASONS: Final = frozenset({ActionReason.DUPLICATE.value})
"""The reasons for withholding an answer that are not worth a line: the event was answered before."""


class TimeBound(Struct, frozen=True):
    """A bound in seconds, and the setting that holds it."""

    setting: str
    seconds: float


class WatchBounds(Struct, frozen=True, kw_only=True):
    """The bounds that lines name: of each guard by its stage, of the lag, and of a partition that stands still."""

    guards: dict[str, TimeBound]
    lag: TimeBound
    standstill: TimeBound


class NightWatch:
    """The watch over one worker. `look` is called every `EVERY_S`, by the thread that `start` begins or by a test.

    `models` returns the health of each model, `say` gets each line. `troubles` may be read from any thread.
    """

    def __init__(
        self,
        metrics: Instruments,
        letters: LetterNotes,
        models: Callable[[], Sequence[ModelHealth]],
        bounds: WatchBounds,
        *,
        monotonic_s: Callable[[], float],
        say: Callable[[str], object] = logger.warning,
    ) -> None:
        self._metrics = metrics
        self._letters = letters
        self._models = models
        self._bounds = bounds
        self._monotonic_s = monotonic_s
        self._say = say
        self._counted: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._before: dict[tuple[str, str], ModelHealth] = {}
        self._looked_s = monotonic_s()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="night-watch", daemon=True)
        self.troubles: tuple[str, ...] = ()
        """What the last look found, a sentence each."""

    def start(self) -> None:
        """Look again and again, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and look once more, so that nothing of the last seconds is lost."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self.look()

    def look(self) -> None:
        """Say what has gone wrong since the last look, and what is wrong now."""
        now_s = self._monotonic_s()
        elapsed_s, self._looked_s = now_s - self._looked_s, now_s
        span = f"in {max(elapsed_s, 1):.0f} s"
        found = [
            *self._dead_letters(span),
            *self._guards(span),
            *self._withheld(span),
            *self._retries(span),
            *self._partitions(),
        ]
        models = self._models()
        found.extend(_trouble_of(model) for model in models if not model.is_well)
        for line in (*found, *self._back(models)):
            self._say(line)
        self.troubles = tuple(found)

    def _serve(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.look()

    def _dead_letters(self, span: str) -> Iterator[str]:
        note = self._letters.take()
        if note is not None:
            letters = _many(note.count, "dead letter")
            yield (
                f"{letters} {span}, the last one: {note.reason}, {note.detail} ({note.place}); "
                f"`sluicegate dlq list --reason {note.reason} --since 10m` names them, `sluicegate dlq show` has more"
            )

    def _guards(self, span: str) -> Iterator[str]:
        for stage, outcomes in _by_first(self._more(Metric.STAGE_ERRORS, "stage", "reason")).items():
            bound = self._bounds.guards.get(stage)
            limit = "" if bound is None else f" (limit {bound.seconds:g} s)"
            where = "" if bound is None else f"; see {bound.setting}"
            if late_count := outcomes.pop(Outcome.TIMEOUT.value, 0):
                yield f"guard {stage} was late{limit} {_many(late_count, 'time')} {span}{where}"
            if outcomes:
                times = _many(sum(outcomes.values()), "time")
                yield f"guard {stage} could not tell {times} {span} ({_listed(outcomes)})"

    def _withheld(self, span: str) -> Iterator[str]:
        more = self._more(Metric.ACTIONS, "action", "reason")
        reasons = {
            reason: count
            for (action, reason), count in more.items()
            if action == Action.WITHHELD.value and reason not in _EXPECTED_REASONS
        }
        if reasons:
            total = _many(sum(reasons.values()), "answer")
            yield f"{total} withheld {span} ({_listed(reasons)}); `sluicegate tail --all` shows them"

    def _retries(self, span: str) -> Iterator[str]:
        reasons = {reason: count for (reason,), count in self._more(Metric.RETRIES, "reason").items()}
        if reasons:
            yield f"drafts were asked for again {_many(sum(reasons.values()), 'time')} {span} ({_listed(reasons)})"

    def _partitions(self) -> Iterator[str]:
        for metric, bound, doing in (
            (Metric.CONSUMER_LAG_SECONDS, self._bounds.lag, "has an event that has waited for"),
            (Metric.STANDSTILL_SECONDS, self._bounds.standstill, "has stood still for"),
        ):
            over = [
                (seconds, f"{labels['topic']}/{labels['partition']}")
                for labels, seconds in self._metrics.series(metric)
                if seconds > bound.seconds
            ]
            if over:
                worst_s, place = max(over)
                others = f", and {_many(len(over) - 1, 'other partition')} too" if len(over) > 1 else ""
                allowed = f"more than {bound.setting} ({bound.seconds:g})"
                yield f"partition {place} {doing} {worst_s:.0f} s{others}; {allowed}"

    def _back(self, models: Sequence[ModelHealth]) -> Iterator[str]:
        """Yield a line for each model that answers again, with how long it was away."""
        for model in models:
            key = (model.role, model.model)
            before = self._before.get(key)
            if before is not None and not before.is_well and model.state is ModelState.ANSWERS:
                yield f"{_named(model)} answers again, for {model.for_s:.0f} s now; it was {before.state.value}"
            self._before[key] = model

    def _more(self, metric: Metric, *names: str) -> dict[tuple[str, ...], int]:
        """Return by how much each label set of a counter grew since the last call, without those that did not."""
        more: dict[tuple[str, ...], int] = {}
        for labels, value in self._metrics.series(metric):
            values = tuple(labels[name] for name in names)
            grown = int(value - self._counted.get((metric, values), 0))
            self._counted[metric, values] = value
            if grown:
                more[values] = grown
        return more


def _trouble_of(model: ModelHealth) -> str:
    failed = _many(model.failed_count, "request")
    if model.state is ModelState.RESTING:
        return f"{_named(model)} asked for rest: it is left alone for {model.rest_left_s:.0f} s more ({failed} failed)"
    reason = model.reason or "no answer"
    return (
        f"{_named(model)} cannot be reached for {model.for_s:.0f} s ({reason}): circuit open, events wait until their "
        f"deadline ({failed} failed)"
    )


def _named(model: ModelHealth) -> str:
    return f"model {model.model} ({model.role}) at {model.address}"


def _by_first(counts: dict[tuple[str, ...], int]) -> dict[str, dict[str, int]]:
    """Return counts by the first of two labels, then by the second."""
    found: dict[str, dict[str, int]] = {}
    for (first, second), count in counts.items():
        found.setdefault(first, {})[second] = count
    return found


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def guard_bounds(*, assess: float, stages: dict[str, float], guard_llm: float) -> dict[str, TimeBound]:
    """Return the time limit of each guard, with the setting that holds it."""
    bounds = {name: TimeBound(f"stages.{name}.timeout_s", seconds) for name, seconds in stages.items()}
    bounds[StageName.ASSESS.value] = TimeBound("limits.assess_timeout_s", assess)
    bounds[StageName.GUARD_LLM.value] = TimeBound("limits.checks_timeout_s", guard_llm)
    return bounds
