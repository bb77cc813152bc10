"""The runner of a stage inside the worker: one thread, which judges drafts in turn, each within a limit of its own.

A batch only spares hand-overs between threads. What one draft costs counts against no other: its time begins when the
thread takes it up, and a draft that is over its limit leaves the rest of its batch to another thread.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence

from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.ports import CheckInput, Stage
from workers.process.served import ClocksOf, Served, clocks_of
from workers.stages.batching import Judged, as_failure, require_shape

STUCK_THREADS_MAX = 3
"""Threads that were left behind in a draft, since they cannot be stopped. If all of them hang, the process has to be
replaced; until one ends, or that is known, the stage takes up no further draft."""

LOOKS_PER_LIMIT = 4
"""Looks at a draft's time of service within its limit. Each costs microseconds."""


class InlineRunner:
    """A runner on a thread of this process, so that a stage that hangs can be timed out.

    `on_stuck` is called with the stage's name when STUCK_THREADS_MAX threads hang: the process must be replaced.
    A stage that works slowly, or that lacks a processor, does not hang (topology/load/service_time.py).
    """

    batches_max = 1
    """A second batch's service would begin before the thread is free."""

    def __init__(
        self,
        stage: Stage,
        timeout_s: float,
        on_stuck: Callable[[str], None],
        *,
        clocks: ClocksOf = clocks_of,
    ) -> None:
        self._stage = stage
        self._timeout_s = timeout_s
        self._look_s = timeout_s / LOOKS_PER_LIMIT
        self._on_stuck = on_stuck
        self._abandoned: list[_Batch] = []
        """The batches that were cut and whose threads have not ended yet."""
        self._clocks = clocks
        self._thread = _StageThread(stage, clocks)

    def prepare(self, given: CheckInput) -> CheckInput:
        """Return the input itself."""
        return given

    def size(self, item: CheckInput) -> int:
        """Return zero, because nothing is copied."""
        del item
        return 0

    async def run(self, items: Sequence[CheckInput]) -> Sequence[Judged]:
        """See `Runner.run`."""
        judged: list[Judged] = []
        while len(judged) < len(items):  # each turn ends the batch, or one item at least
            while self._is_full():  # until a thread ends, or is known to hang
                ends = [batch.ended for batch in self._abandoned]
                await asyncio.wait(ends, timeout=self._look_s, return_when=asyncio.FIRST_COMPLETED)
            batch = self._thread.submit(items[len(judged) :])
            if await self._ended(batch):
                judged.extend(batch.judged)
                continue
            batch.is_cut = True
            judged.extend(batch.judged)
            if len(judged) < len(items):
                judged.append(CheckFailed(Outcome.TIMEOUT, self._stage.name, f"no report in {self._timeout_s:g} s"))
            self._abandoned.append(batch)
            self._thread.stop()
            self._thread = _StageThread(self._stage, self._clocks)
            self._is_full()
        return judged

    def close(self) -> None:
        """Let the thread end after its present batch."""
        self._thread.stop()

    async def _ended(self, batch: "_Batch") -> bool:
        """Wait for the batch; return False once one of its items is over its limit."""
        while True:  # an item ends, or is over its limit
            await asyncio.wait([batch.ended], timeout=self._look_s)
            if batch.ended.done():
                return True
            if batch.served.time_s() >= self._timeout_s:
                return False

    def _is_full(self) -> bool:
        """Return whether too many abandoned threads are left. If all of them hang, have the process replaced.

        A thread that is merely slow ends, or hangs once it has passed the last bound.
        """
        self._abandoned = [batch for batch in self._abandoned if not batch.ended.done()]
        if len(self._abandoned) < STUCK_THREADS_MAX:
            return False
        if all(batch.served.is_hanging(self._timeout_s) for batch in self._abandoned):
            self._abandoned.clear()
            self._on_stuck(self._stage.name)
            return False
        return True


class _Batch:
    """Items that a thread judges in turn. `ended` belongs to the event loop, everything else is written by the thread.

    A batch that `is_cut` ends after its present item; nobody looks at it any more.
    """

    def __init__(self, items: Sequence[CheckInput], clocks: ClocksOf) -> None:
        self.items = items
        self.judged: list[Judged] = []
        self.is_cut = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.served = Served(clocks)


class _StageThread:
    """A thread that runs a stage's batches in turn. It is a daemon, so a hung stage cannot delay an exit."""

    def __init__(self, stage: Stage, clocks: ClocksOf) -> None:
        self._stage = stage
        self._clocks = clocks
        self._work: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=f"stage-{stage.name}", daemon=True).start()

    def submit(self, items: Sequence[CheckInput]) -> _Batch:
        batch = _Batch(items, self._clocks)
        self._work.put(batch)
        return batch

    def stop(self) -> None:
        self._work.put(None)

    def _serve(self) -> None:
        while (batch := self._work.get()) is not None:
            for item in batch.items:
                if batch.is_cut:
                    break
                batch.served.begin()
                batch.judged.append(_judge(self._stage, item))
            try:
                batch.ended.get_loop().call_soon_threadsafe(_end, batch.ended)
            except RuntimeError:  # the event loop is closed: nobody waits any more
                return


def _judge(stage: Stage, item: CheckInput) -> Judged:
    try:
        reports = stage.run([item])
        require_shape(stage.name, reports, 1)
    except Exception as exc:  # noqa: BLE001 - a check that raises is a check that could not tell
        return as_failure(stage.name, exc)
    return reports[0]


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
