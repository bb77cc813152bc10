"""One arm of the Kafka→Kafka comparison, in a process of its own: prints its figures as one line of JSON.

    python -m bench.kafka_arm '{"arm": "bare", "bootstrap": "127.0.0.1:9092", ...}'

The clock starts at the end of the first transaction after `warm_events` and stops at the end of the last one, so that
connecting, joining the group and the first fetch are in no figure.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition
from msgspec import Struct, structs

from bench.world import own_telemetry, sample_output, stub_pipeline, stub_policy
from topology.contract.events import ConversationEvent
from topology.contract.names import Topic
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.ports import Sink
from workers.kafka.client import connect, consumer_options, producer_options
from workers.kafka.sink_process import ProcessSink, open_sink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.process.interpreter import tune_interpreter
from workers.settings import KafkaSettings, Settings
from workers.stream.loop import Loop

Arm = Literal["bare", "off", "off, one process", "off, plan and judge", "ratio", "full"]

CPUCLOCK_SCHED = 2
"""The kernel's number for a clock of time on a processor."""


class Task(Struct, frozen=True, kw_only=True):
    """What to run: `group` is new for each run, so that it reads from the beginning."""

    arm: Arm
    bootstrap: str
    group: str
    events: int
    warm_events: int
    transaction_events: int


class Figures(Struct, frozen=True, kw_only=True):
    """The cost of one run. `cpu_us` and `wall_us` are per event; CPU time is of all threads of all its processes."""

    arm: Arm
    events: int
    transactions: int
    wall_us: float
    cpu_us: float
    peak_mib: float


class Meter:
    """A meter of transactions that begins with the first one after the warm-up. `pids` are the arm's processes."""

    def __init__(self, task: Task, pids: Sequence[int]) -> None:
        self._task = task
        self._pids = tuple(pids)
        self._started: tuple[int, float, float] | None = None
        self._transactions = 0
        self.count = 0
        self.figures: Figures | None = None

    def committed(self, events: int) -> None:
        self.count += events
        if self._started is None:
            if self.count >= self._task.warm_events:
                self._started = (self.count, time.perf_counter(), self._cpu_s())
            return
        self._transactions += 1
        if self.count >= self._task.events and self.figures is None:
            first, wall_s, cpu_s = self._started
            events = self.count - first
            self.figures = Figures(
                arm=self._task.arm,
                events=events,
                transactions=self._transactions,
                wall_us=(time.perf_counter() - wall_s) / events * 1e6,
                cpu_us=(self._cpu_s() - cpu_s) / events * 1e6,
                peak_mib=sum(peak_mib(pid) for pid in self._pids),
            )

    def _cpu_s(self) -> float:
        return sum(time.clock_gettime(cpu_clock(pid)) for pid in self._pids)


class MeteredSink:
    """A sink that tells the meter of each transaction, and calls `on_done` once everything was measured."""

    def __init__(self, sink: Sink, meter: Meter, on_done: Callable[[], None]) -> None:
        self._sink = sink
        self._meter = meter
        self._on_done = on_done
        self._done: dict[int, int] = {}

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        is_done = self._sink.commit(records, offsets, ownership)
        assert is_done, "a transaction was aborted: the run measures something else"
        self._meter.committed(len(records) // 2)
        if self._meter.figures is not None:
            self._on_done()
        return True

    def close(self) -> None:
        self._sink.close()


def cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time over all its threads, as Linux's `clock_getcpuclockid` does."""
    return (~pid << 3) | CPUCLOCK_SCHED


def peak_mib(process: int | str) -> float:
    """Return the most memory that a process held at once (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


def run_ours(task: Task) -> Figures:
    """Run the worker's own loop, pipeline, source and sink."""
    kafka = KafkaSettings(bootstrap_servers=(task.bootstrap,), group_id=task.group)
    kafka = structs.replace(kafka, producer_process=task.arm != "off, one process")
    preset = "off" if task.arm.startswith("off") else task.arm
    telemetry, tracing = own_telemetry(preset)
    if task.arm != "off, plan and judge":
        stub_policy()
    pipeline = stub_pipeline(tracing, telemetry.instruments)
    producer = open_sink(kafka, 0)
    meter = Meter(task, [os.getpid(), producer.pid] if isinstance(producer, ProcessSink) else [os.getpid()])
    limits = structs.replace(Settings().limits, batch_events_max=task.transaction_events)
    sink = MeteredSink(producer, meter, lambda: loop.drain(0))
    loop = Loop(
        KafkaSource(kafka, Topic.EVENTS.value, 0),
        sink,
        pipeline.process,
        clock=SystemClock(),
        limits=limits,
        metrics=telemetry.instruments,
        tracing=tracing,
    )
    tune_interpreter()
    loop.run()
    telemetry.shutdown(5)
    assert meter.figures is not None
    return meter.figures


def run_bare(task: Task) -> Figures:
    """Run kafka-python alone, with the same options: decode the event, write the same two records."""
    kafka = KafkaSettings(bootstrap_servers=(task.bootstrap,), group_id=task.group)
    decoder = msgspec.json.Decoder(ConversationEvent)
    response, audit = sample_output()
    consumer: Any = connect("c", lambda: KafkaConsumer(**consumer_options(kafka, instance_id=task.group)), 30)
    producer: Any = connect("p", lambda: KafkaProducer(**producer_options(kafka, transactional_id=task.group)), 30)
    producer.init_transactions()
    consumer.subscribe([Topic.EVENTS.value])
    while Topic.EVENTS.value not in consumer.topics():
        time.sleep(0.1)
    meter = Meter(task, [os.getpid()])
    offsets: dict[TopicPartition, OffsetAndMetadata] = {}
    held = 0
    while meter.figures is None:
        for partition, records in consumer.poll(timeout_ms=50).items():
            for record in records:
                if not held:
                    producer.begin_transaction()
                decoder.decode(record.value)
                for out in (response, audit):
                    producer.send(out.topic, value=out.value, key=record.key, headers=list(out.headers))
                offsets[partition] = OffsetAndMetadata(record.offset + 1, "", -1)
                held += 1
                if held == task.transaction_events:
                    producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
                    producer.commit_transaction()
                    meter.committed(held)
                    held = 0
    consumer.close(autocommit=False)
    producer.close(timeout=1)
    return meter.figures


def main(arguments: Sequence[str]) -> int:
    task = msgspec.json.decode(arguments[0], type=Task)
    figures = run_bare(task) if task.arm == "bare" else run_ours(task)
    print(msgspec.json.encode(figures).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
