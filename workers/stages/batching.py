"""Micro-batches in front of a stage: many `check` calls become few `run` calls, inline or in an actor.

A Ray call costs about a millisecond whatever it carries, and Ray does not pass arguments above 100 KB inline. So a
batch is bounded by events, bytes and time, and the number of outstanding batches is bounded too.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.ports import CheckInput, Stage
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.settings import StageSettings

Item = TypeVar("Item")

WAITING_MAX = 10_000
"""Checks that may wait for a batch. Far above any in-flight limit: reaching it means that a stage is stuck."""

STUCK_THREADS_MAX = 3
"""Inline batches that may hang, each on a thread that cannot be stopped, before the process has to be replaced."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CheckReport)


class Runner(Protocol[Item]):
    """A place where batches of a stage run."""

    def prepare(self, given: CheckInput) -> Item:
        """Return the form in which an input travels."""
        ...

    def size(self, item: Item) -> int:
        """Return how many bytes the item adds to a call; 0 if nothing is copied."""
        ...

    async def run(self, items: Sequence[Item]) -> Sequence[CheckReport]:
        """Return one report per item, in order. Raises CheckFailed."""
        ...

    def close(self) -> None:
        """Release threads or handles."""
        ...


class InlineRunner:
    """A runner on a thread of this process, so that a stage that hangs can be timed out.

    `on_stuck` is called with the stage's name when STUCK_THREADS_MAX batches hang: the process must be replaced.
    """

    def __init__(self, stage: Stage, timeout_s: float, on_stuck: Callable[[str], None]) -> None:
        self._stage = stage
        self._timeout_s = timeout_s
        self._on_stuck = on_stuck
        self._stuck = 0
        self._thread = _StageThread(stage)

    def prepare(self, given: CheckInput) -> CheckInput:
        """Return the input itself."""
        return given

    def size(self, item: CheckInput) -> int:
        """Return zero, because nothing is copied."""
        del item
        return 0

    async def run(self, items: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """See `Runner.run`. An exception of the stage passes through."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._thread.submit(items)
        except TimeoutError as exc:
            self._abandon_thread()
            raise CheckFailed(Outcome.TIMEOUT, self._stage.name, f"no report in {self._timeout_s:g} s") from exc

    def close(self) -> None:
        """Let the thread end after its present batch."""
        self._thread.stop()

    def _abandon_thread(self) -> None:
        self._thread.stop()
        self._thread = _StageThread(self._stage)
        self._stuck += 1
        if self._stuck >= STUCK_THREADS_MAX:
            self._on_stuck(self._stage.name)


class _StageThread:
    """A thread that runs a stage's batches in turn. It is a daemon, so a hung stage cannot delay an exit."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._work: queue.SimpleQueue[tuple[Sequence[CheckInput], asyncio.Future[Sequence[CheckReport]]] | None]
        self._work = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=f"stage-{stage.name}", daemon=True).start()

    async def submit(self, items: Sequence[CheckInput]) -> Sequence[CheckReport]:
        future: asyncio.Future[Sequence[CheckReport]] = asyncio.get_running_loop().create_future()
        self._work.put((items, future))
        return await future

    def stop(self) -> None:
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            items, future = work
            reports: Sequence[CheckReport] = ()
            error: Exception | None = None
            try:
                reports = self._stage.run(items)
            except Exception as exc:  # noqa: BLE001 - a check that raises is a check that could not tell
                error = exc
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, reports, error)
            except RuntimeError:  # the event loop is closed: nobody waits any more
                return


def _settle(
    future: asyncio.Future[Sequence[CheckReport]], reports: Sequence[CheckReport], error: Exception | None
) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(reports)


class BatchedCheck(Generic[Item]):
    """The Check port over a stage that runs batches. All calls must be on one event loop."""

    def __init__(
        self,
        name: str,
        version: str,
        runner: Runner[Item],
        settings: StageSettings,
        metrics: Instruments,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._name = name
        self._version = version
        self._runner = runner
        self._settings = settings
        self._metrics = metrics
        self._waiting_max = waiting_max
        self._in_flight_max = settings.in_flight_max * settings.replicas
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
        """Return the stage's report. Raises CheckFailed if the stage is overloaded, fails, hangs or returns garbage."""
        if len(self._waiting) >= self._waiting_max:
            raise CheckFailed(Outcome.OVERLOADED, self._name, f"{self._waiting_max} checks wait already")
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
        while self._waiting and len(self._in_flight) < self._in_flight_max:
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
            reports = await self._runner.run([item for item, _ in batch])
            _require_shape(self._name, reports, len(batch))
        except Exception as exc:  # noqa: BLE001 - whatever a stage raises, its check could not tell
            failure = _as_failure(self._name, exc)
            for _, future in batch:
                if not future.done():
                    future.set_exception(CheckFailed(*failure))
            return
        for (_, future), report in zip(batch, reports, strict=True):
            if not future.done():
                _deliver(self._name, future, report)


def _deliver(name: str, future: asyncio.Future[CheckReport], report: CheckReport) -> None:
    try:
        future.set_result(validated(name, report))
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


def _require_shape(name: str, reports: object, count: int) -> None:
    if not isinstance(reports, list | tuple) or len(reports) != count:  # pyright: ignore[reportUnknownArgumentType]
        raise CheckFailed(Outcome.UNPARSABLE, name, "not one report per draft")


def _as_failure(name: str, exc: Exception) -> tuple[Outcome, str, str]:
    if isinstance(exc, CheckFailed):
        return exc.outcome, exc.guard, exc.detail
    return Outcome.CRASHED, name, type(exc).__name__
