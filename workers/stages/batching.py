"""Micro-batches in front of a stage: many `check` calls become few `run` calls, inline or in an actor.

A Ray call costs about a millisecond whatever it carries, and Ray does not pass arguments above 100 KB inline. So a
batch is bounded by events, bytes and time, and so is the number of drafts that have begun, which adapts to their pace.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed, TooLate
from topology.contract.labels import Outcome
from topology.load.gate import DEADLINE_S, WAITING_MAX, OnChange
from topology.load.limiter import Limiter, LimiterBounds
from topology.load.line import Line
from topology.load.service import SERVICE_LIMIT
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.settings import StageSettings

Item = TypeVar("Item")

SLOW_SHARE = 0.2
"""The share of a draft's limit beyond which its batch counts as slow, so that fewer begin at once."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CheckReport)


Judged = CheckReport | CheckFailed
"""The end of one item: its report, or why there is none."""


class Runner(Protocol[Item]):
    """A place where batches of a stage run."""

    @property
    def batches_max(self) -> int:
        """Return how many batches may run at once."""
        ...

    def prepare(self, given: CheckInput) -> Item:
        """Return the form in which an input travels."""
        ...

    def size(self, item: Item) -> int:
        """Return how many bytes the item adds to a call; 0 if nothing is copied."""
        ...

    async def run(self, items: Sequence[Item]) -> Sequence[Judged]:
        """Return one report or failure per item, in order. It limits the service of each itself.

        Raises CheckFailed if nothing of the batch could be judged.
        """
        ...

    def close(self) -> None:
        """Release threads or handles."""
        ...


@dataclass(slots=True)
class _Waiting(Generic[Item]):
    """A draft that waits for its batch."""

    item: Item
    size_bytes: int
    future: asyncio.Future[CheckReport]


class BatchedCheck(Generic[Item]):
    """The Check port over a stage that runs batches. All calls must be on one event loop.

    Drafts wait in the order of their deadlines. How many have begun at once is limited by how fast they end.
    Gauges show it as `part`, if that differs from the stage's name.
    """

    def __init__(
        self,
        name: str,
        version: str,
        runner: Runner[Item],
        settings: StageSettings,
        metrics: Instruments,
        waiting_max: int = WAITING_MAX,
        now_s: Callable[[], float] = time.monotonic,
        part: str = "",
    ) -> None:
        self._name = name
        self._version = version
        self._runner = runner
        self._settings = settings
        self._now_s = now_s
        most = settings.batch_events_max * runner.batches_max
        self._limiter = Limiter(LimiterBounds(most=most, slow_s=settings.timeout_s * SLOW_SHARE))
        self._show = concurrency_gauges(metrics, part or name)
        self._waiting_max = waiting_max
        self._line: Line[_Waiting[Item]] = Line(waiting_max, lambda waiting: waiting.future.done())
        self._begun_count = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._linger: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self._name

    @property
    def version(self) -> str:
        """Return the stage's version."""
        return self._version

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the stage's report. Raises CheckFailed if the stage is overloaded, fails, hangs or returns garbage.

        Raises TooLate if the report would come after the event's deadline. The runner bounds the service, so the limit
        of the caller stops counting here.
        """
        if (limit := SERVICE_LIMIT.get()) is not None:
            limit.pause()
        if self._line.is_full:
            raise CheckFailed(Outcome.OVERLOADED, self._name, f"{self._waiting_max} checks wait already")
        item = self._runner.prepare(given)
        future: asyncio.Future[CheckReport] = asyncio.get_running_loop().create_future()
        self._line.add(_Waiting(item, self._runner.size(item), future), DEADLINE_S.get())
        if len(self._line) >= min(self._settings.batch_events_max, self._limiter.limit):
            self._pump()
        elif self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(self._settings.linger_ms / 1000, self._pump)
        return await future

    async def close(self) -> None:
        """Cancel all checks that wait or run, and close the runner."""
        if self._linger is not None:
            self._linger.cancel()
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        for waiting in self._line.clear():
            waiting.future.cancel()
        self._runner.close()

    def _pump(self) -> None:
        self._linger = None
        for late in self._line.take_late(self._now_s() + self._limiter.fastest_s):
            late.future.set_exception(TooLate(self._name))
        while len(self._in_flight) < self._runner.batches_max and (batch := self._next_batch()):
            self._begun_count += len(batch)
            task = asyncio.create_task(self._run(batch))
            self._in_flight.add(task)
            task.add_done_callback(self._on_done)
        self._show(self._limiter.limit, self._begun_count, len(self._line))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._pump()

    def _next_batch(self) -> list[_Waiting[Item]]:
        """Return the drafts whose turn it is, within the bounds of a batch and the limit; none if nothing may begin."""
        batch: list[_Waiting[Item]] = []
        size_bytes = 0
        count_max = min(self._settings.batch_events_max, self._limiter.limit - self._begun_count)
        while len(batch) < count_max and (first := self._line.first()) is not None:
            size_bytes += first.size_bytes
            if batch and size_bytes > self._settings.batch_bytes_max:
                break
            batch.append(self._line.take())
        return batch

    async def _run(self, batch: list[_Waiting[Item]]) -> None:
        began_s = self._now_s()
        try:
            judged = await self._runner.run([waiting.item for waiting in batch])
            require_shape(self._name, judged, len(batch))
        except Exception as exc:  # noqa: BLE001 - whatever a stage raises, its check could not tell
            judged = [as_failure(self._name, exc)] * len(batch)
        finally:
            self._limiter.ended(began_s, self._now_s(), self._begun_count, pieces=len(batch))
            self._begun_count -= len(batch)
        for waiting, each in zip(batch, judged, strict=True):
            if not waiting.future.done():
                _deliver(self._name, waiting.future, each)


def _deliver(name: str, future: asyncio.Future[CheckReport], judged: Judged) -> None:
    if isinstance(judged, CheckFailed):
        future.set_exception(CheckFailed(*judged.args))  # several drafts may share one failure
        return
    try:
        future.set_result(validated(name, judged))
    except CheckFailed as exc:
        future.set_exception(exc)


def validated(name: str, report: CheckReport) -> CheckReport:
    """Return the report as its wire form decodes, because constructing a struct checks nothing, and decoding does.

    Raises CheckFailed(unparsable) for anything that is not a valid report of the check `name`.
    """
    try:
        checked = _decoder.decode(_encoder.encode(report))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as exc:
        raise CheckFailed(Outcome.UNPARSABLE, name, "the report is not valid") from exc
    if checked.check != name:
        raise CheckFailed(Outcome.UNPARSABLE, name, "the report names another check")
    return checked


def require_shape(name: str, reports: object, count: int) -> None:
    """Raise CheckFailed unless there is one report per draft."""
    if not isinstance(reports, list | tuple) or len(reports) != count:  # pyright: ignore[reportUnknownArgumentType]
        raise CheckFailed(Outcome.UNPARSABLE, name, "not one report per draft")


def as_failure(name: str, exc: Exception) -> CheckFailed:
    """Return what a check says that could not tell because its stage raised `exc`."""
    return exc if isinstance(exc, CheckFailed) else CheckFailed(Outcome.CRASHED, name, type(exc).__name__)


def concurrency_gauges(metrics: Instruments, part: str) -> OnChange:
    """Return a function that shows the limit of a part, and what has begun and waits there."""

    def show(limit: int, begun_count: int, waiting_count: int) -> None:
        metrics.gauge_set(Metric.CONCURRENCY_LIMIT, limit, part=part)
        metrics.gauge_set(Metric.CONCURRENCY_BEGUN, begun_count, part=part)
        metrics.gauge_set(Metric.CONCURRENCY_WAITING, waiting_count, part=part)

    return show
