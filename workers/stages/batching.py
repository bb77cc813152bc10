"""Micro-batches in front of a stage: many `check` calls become few `run` calls, inline or in an actor.

A Ray call costs about a millisecond whatever it carries, and Ray does not pass arguments above 100 KB inline. So a
batch is bounded by events, bytes and time, and the number of outstanding batches is bounded too.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.load.service import SERVICE_LIMIT
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.settings import StageSettings

Item = TypeVar("Item")

WAITING_MAX = 10_000
"""Checks that may wait for a batch. Far above any in-flight limit: reaching it means that a stage is stuck."""

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


class BatchedCheck(Generic[Item]):
    """The Check port over a stage that runs batches. All calls must be on one event loop."""

    def __init__(
        self, name: str, version: str, runner: Runner[Item], settings: StageSettings, metrics: Instruments
    ) -> None:
        self._name = name
        self._version = version
        self._runner = runner
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[tuple[Item, asyncio.Future[CheckReport]]] = deque()
        self._waiting_bytes = 0
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

        The runner bounds the service, so the limit of the caller stops counting here.
        """
        if (limit := SERVICE_LIMIT.get()) is not None:
            limit.pause()
        if len(self._waiting) >= WAITING_MAX:
            raise CheckFailed(Outcome.OVERLOADED, self._name, f"{WAITING_MAX} checks wait already")
        item = self._runner.prepare(given)
        future: asyncio.Future[CheckReport] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._waiting_bytes += self._runner.size(item)
        if (
            len(self._waiting) >= self._settings.batch_events_max
            or self._waiting_bytes >= self._settings.batch_bytes_max
        ):
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
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        self._runner.close()

    def _pump(self) -> None:
        self._linger = None
        while self._waiting and len(self._in_flight) < self._runner.batches_max:
            batch = self._next_batch()
            if batch:
                task = asyncio.create_task(self._run(batch))
                self._in_flight.add(task)
                task.add_done_callback(self._on_done)
        self._metrics.gauge_set(Metric.STAGE_QUEUE_DEPTH, len(self._waiting), stage=self._name)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._pump()

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[CheckReport]]]:
        batch: list[tuple[Item, asyncio.Future[CheckReport]]] = []
        size = 0
        while self._waiting and len(batch) < self._settings.batch_events_max:
            item, future = self._waiting[0]
            item_bytes = self._runner.size(item)
            if batch and size + item_bytes > self._settings.batch_bytes_max:
                break
            self._waiting.popleft()
            self._waiting_bytes -= item_bytes
            if not future.done():
                batch.append((item, future))
                size += item_bytes
        return batch

    async def _run(self, batch: list[tuple[Item, asyncio.Future[CheckReport]]]) -> None:
        try:
            judged = await self._runner.run([item for item, _ in batch])
            require_shape(self._name, judged, len(batch))
        except Exception as exc:  # noqa: BLE001 - whatever a stage raises, its check could not tell
            judged = [as_failure(self._name, exc)] * len(batch)
        for (_, future), each in zip(batch, judged, strict=True):
            if not future.done():
                _deliver(self._name, future, each)


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
