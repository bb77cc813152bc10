"""One worker with its own loop, source and sink, in a process of its own, whose events take a given time.

    python -m bench.engine_arm '{"bootstrap": "127.0.0.1:9092", ...}'

Prints a `Sample` as one line of JSON every `sample_interval_s` from its start on, and at the end one `Done`.
"""

import asyncio
import functools
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from bench.world import own_telemetry, stub_pipeline, stub_policy
from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record, Result
from topology.pipeline import Pipeline
from topology.ports import Rest, Sink
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.process.interpreter import tune_interpreter
from workers.settings import KafkaSettings, Settings
from workers.stream.loop import Loop

STUCK_KEY = b"stuck"
"""The first event of this key takes `stuck_s`."""

ROUND_HEADER = "bench-round"
TIMES_HEADER = "bench-times"
RUN_S_MAX = 1_300.0


class Task(Struct, frozen=True, kw_only=True):
    """What to run: it ends once `events` are committed. Output goes to topics that begin with `prefix`.

    `wait`: each event takes `wait_s` and ends as one record that names it. `pipeline`: each goes through the pipeline
    with ports that answer at once, and its records' values are cut to `value_bytes_max`.
    """

    bootstrap: str
    group: str
    slot: int = 0
    topic: str
    prefix: str
    events: int
    work: Literal["wait", "pipeline"]
    wait_s: float = 0.0
    stuck_s: float = 0.0
    value_bytes_max: int = 1 << 20
    in_flight_max: int = 64
    queue_events_max: int = 2_000
    batch_events_max: int = 200
    sample_interval_s: float = 0.1
    is_marked: bool = False
    """Whether every record says by a header which transaction wrote it."""
    is_timed: bool = False
    """Whether every record of `pipeline` says by a header when its event was appended, taken up and finished."""


class Sample(Struct, frozen=True, kw_only=True, tag=True):
    """The worker at one moment, `at_s` since the epoch. `rss_mib` is resident memory, `cpu_s` CPU time so far."""

    at_s: float
    cpu_s: float
    is_assigned: bool
    running: int
    committed: int
    rss_mib: float


class Trace(Struct, frozen=True, array_like=True):
    """One event; times in milliseconds since the epoch. `appended_ms` is the broker's."""

    partition: int
    offset: int
    is_stuck_key: bool
    appended_ms: int
    finished_ms: float
    committed_ms: float


class Times(Struct, frozen=True, array_like=True):
    """Times of one event, in milliseconds since the epoch. `appended_ms` is the broker's, in whole milliseconds."""

    appended_ms: int
    begun_ms: float
    finished_ms: float


class Done(Struct, frozen=True, kw_only=True, tag=True):
    """The whole run, from the first start of an event to the end of the last transaction.

    `disordered` counts events that became visible before an earlier one of their key. `traces` are those of `wait`.
    """

    wall_s: float
    cpu_s: float
    transactions: int
    running_max: int
    running_max_per_key: int
    disordered: int
    traces: list[Trace]


class Work:
    """The processing of an event, which writes `records_per_event` records for each."""

    def __init__(self, task: Task, process: Callable[..., Awaitable[Result]], records_per_event: int) -> None:
        self.task = task
        self.records_per_event = records_per_event
        self.running = 0
        self.running_max = 0
        self.running_max_per_key = 0
        self.started_s: float | None = None
        self._process = process
        self._running_of: dict[bytes, int] = {}

    async def process(self, record: Record, rest: Rest) -> Result:
        """Count the event, and process it."""
        if self.started_s is None:
            self.started_s = time.perf_counter()
        key = record.key or b""
        of_key = self._running_of[key] = self._running_of.get(key, 0) + 1
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        self.running_max_per_key = max(self.running_max_per_key, of_key)
        try:
            return await self._process(record, rest)
        finally:
            self.running -= 1
            if of_key == 1:
                del self._running_of[key]
            else:
                self._running_of[key] -= 1


class Waiting:
    """A processing that waits for `wait_s` with each event and keeps the times."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._is_stuck_due = task.stuck_s > 0
        self.read: dict[tuple[int, int], tuple[bytes, int, float]] = {}

    async def process(self, record: Record, _rest: Rest) -> Result:
        """Return one record that names the event, after its time."""
        wait_s = self._task.wait_s
        if self._is_stuck_due and record.key == STUCK_KEY:
            self._is_stuck_due = False
            wait_s = self._task.stuck_s
        await asyncio.sleep(wait_s)
        place = (record.partition, record.offset)
        self.read[place] = (record.key or b"", record.timestamp_ms, time.time() * 1000)
        out = OutRecord(topic=self._task.prefix, key=record.key, value=msgspec.json.encode(place))
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=(out,))


class MeteredSink:
    """A sink that notes when each event was committed, and calls `on_done` after the last one."""

    def __init__(self, sink: Sink, work: Work, on_done: Callable[[], None]) -> None:
        self._sink = sink
        self._work = work
        self._on_done = on_done
        self.transactions = 0
        self.committed = 0
        self.committed_ms: dict[tuple[int, int], float] = {}
        self.ended_s = 0.0

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        task = self._work.task
        if task.is_marked:
            mark = ((ROUND_HEADER, str(self.transactions).encode()),)
            records = [structs.replace(record, headers=record.headers + mark) for record in records]
        assert self._sink.commit(records, offsets, ownership), "a transaction was aborted: this measures something else"
        self.ended_s = time.perf_counter()
        self.transactions += 1
        self.committed += len(records) // self._work.records_per_event
        if task.work == "wait":
            now_ms = time.time() * 1000
            for record in records:
                self.committed_ms[msgspec.json.decode(record.value, type=tuple[int, int])] = now_ms
        if self.committed >= task.events:
            self._on_done()
        return True

    def close(self) -> None:
        self._sink.close()


def run(task: Task) -> Done:
    """Run the worker until everything is committed."""
    kafka = KafkaSettings(bootstrap_servers=(task.bootstrap,), group_id=task.group)
    telemetry, tracing = own_telemetry("off")
    waiting = Waiting(task)
    if task.work == "pipeline":
        stub_policy()
        pipeline = stub_pipeline(tracing, telemetry.instruments)
        work = Work(task, functools.partial(_through, pipeline, task), 2)
    else:
        work = Work(task, waiting.process, 1)
    limits = structs.replace(
        Settings().limits,
        in_flight_max=task.in_flight_max,
        queue_events_max=task.queue_events_max,
        batch_events_max=task.batch_events_max,
    )
    sink = MeteredSink(TransactionalSink(kafka, task.slot), work, lambda: loop.drain(0))
    loop = Loop(
        KafkaSource(kafka, task.topic, task.slot),
        sink,
        work.process,
        clock=SystemClock(),
        limits=limits,
        metrics=telemetry.instruments,
        tracing=tracing,
    )
    tune_interpreter()
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(task, loop, work, ended), daemon=True)
    sampler.start()
    cpu_s = time.process_time()
    loop.run()
    ended.set()
    sampler.join()
    telemetry.shutdown(5)
    assert work.started_s is not None
    return Done(
        wall_s=sink.ended_s - work.started_s,
        cpu_s=time.process_time() - cpu_s,
        transactions=sink.transactions,
        running_max=work.running_max,
        running_max_per_key=work.running_max_per_key,
        disordered=_disordered(waiting, sink),
        traces=_traces(waiting, sink),
    )


async def _through(pipeline: Pipeline, task: Task, record: Record, rest: Rest) -> Result:
    begun_ms = time.time() * 1000
    result = _cut(await pipeline.process(record, rest), task)
    return _timed(result, Times(record.timestamp_ms, begun_ms, time.time() * 1000)) if task.is_timed else result


def _timed(result: Result, times: Times) -> Result:
    mark = ((TIMES_HEADER, msgspec.json.encode(times)),)
    return structs.replace(
        result, records=tuple([structs.replace(out, headers=out.headers + mark) for out in result.records])
    )


def _cut(result: Result, task: Task) -> Result:
    """Return the result with topics of this run, short values and, if they are cut, no headers."""
    is_whole = task.value_bytes_max >= 1 << 20
    records = tuple(
        OutRecord(
            topic=task.prefix + out.topic,
            key=out.key,
            value=out.value[: task.value_bytes_max],
            headers=out.headers if is_whole else (),
        )
        for out in result.records
    )
    return structs.replace(result, records=records)


def _sample(task: Task, loop: Loop, work: Work, ended: threading.Event) -> None:
    """Print a sample every interval, and one at the end."""
    deadline_s = time.monotonic() + RUN_S_MAX
    while not ended.wait(task.sample_interval_s):
        _print_sample(loop, work)
        if time.monotonic() >= deadline_s:
            loop.drain(0)
            return
    _print_sample(loop, work)


def _print_sample(loop: Loop, work: Work) -> None:
    health = loop.health()
    sample = Sample(
        at_s=time.time(),
        cpu_s=time.process_time(),
        is_assigned=health.assigned,
        running=work.running,
        committed=health.committed_count,
        rss_mib=resident_mib(),
    )
    print(msgspec.json.encode(sample).decode(), flush=True)


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _traces(waiting: Waiting, sink: MeteredSink) -> list[Trace]:
    return [
        Trace(partition, offset, key == STUCK_KEY, appended_ms, finished_ms, sink.committed_ms[partition, offset])
        for (partition, offset), (key, appended_ms, finished_ms) in sorted(waiting.read.items())
        if (partition, offset) in sink.committed_ms
    ]


def _disordered(waiting: Waiting, sink: MeteredSink) -> int:
    """Count events that were written before an earlier one of their key; `committed_ms` is in the output's order."""
    highest: dict[bytes, int] = {}
    count = 0
    for place in sink.committed_ms:
        key, offset = waiting.read[place][0], place[1]
        count += offset < highest.get(key, -1)
        highest[key] = max(offset, highest.get(key, -1))
    return count


def main(arguments: Sequence[str]) -> int:
    task = msgspec.json.decode(arguments[0], type=Task)
    done = run(task)
    print(msgspec.json.encode(done).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
