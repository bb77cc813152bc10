"""Part a: Kafka to Kafka, Sluicegate's path against a bare transactional loop on the same broker."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.kafka_arm import Arm, Figures, Task
from bench.report import Figure, median_figure
from bench.world import event, record
from topology.contract.names import Topic
from workers.kafka.sender import EventSender
from workers.kafka.topics import create_topics
from workers.settings import KafkaSettings, Settings, TopicSettings

Say = Callable[[str], None]

RUN_TIMEOUT_S = 180.0
TRANSACTION_EVENTS = 200
OURS: dict[Arm, str] = {
    "off": "tracing off",
    "off, one process": "tracing off, `kafka.producer_process = false`",
    "off, plan and judge": "tracing off, real plan and judge",
    "ratio": "tracing preset ratio (5 %)",
    "full": "tracing preset full",
}
TARGETS: dict[Arm, str] = {"off": "≥ 0.95", "off, one process": "≥ 0.5"}


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement."""

    events: int = 20_000
    warm_events: int = 1_000
    repetitions: int = 5
    arms: tuple[Arm, ...] = ("off", "off, one process", "off, plan and judge", "ratio", "full")
    warm_arms: tuple[Arm, ...] = ("bare", "off", "bare")
    """Run first and not counted: a broker that was just started compiles itself for a minute."""


QUICK = Size(events=1_500, warm_events=300, repetitions=1, arms=("off", "off, one process"), warm_arms=())


def measure(bootstrap: str, size: Size, say: Say) -> list[Figure]:
    """Measure the ratios of wall time and of CPU time, each of a bare run and the run of Sluicegate right after it."""
    # Ours processes ahead of its transactions. Where the topic ended with the events that are measured, what was ahead
    # when the clock started would be work that nobody counts; so there is as much to be ahead with at the end.
    ahead_max = Settings().limits.queue_events_max
    produce(bootstrap, size.events + 2 * TRANSACTION_EVENTS + ahead_max, say)
    runs: dict[Arm, list[Figures]] = {arm: [] for arm in ("bare", *size.arms)}
    for arm in size.warm_arms:
        say(f"a: not counted {arm}: {_run(bootstrap, arm, size).wall_us:.0f} µs")
    for repetition in range(size.repetitions):
        for arm, done in runs.items():
            figures = _run(bootstrap, arm, size)
            done.append(figures)
            say(f"a: {repetition + 1}/{size.repetitions} {arm}: {figures.wall_us:.0f} µs, CPU {figures.cpu_us:.0f} µs")
    return _figures(runs, size)


def produce(bootstrap: str, count: int, say: Say) -> None:
    """Write so many events to the input topic."""
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,))
    create_topics(kafka, TopicSettings())
    sender = EventSender(kafka, Topic.EVENTS.value)
    for index in range(count):
        made = record(index)
        sender.send_raw(made.key, made.value, made.headers)
    sender.flush()
    sender.close()
    say(f"a: {count} events are on the input topic")


def _run(bootstrap: str, arm: Arm, size: Size) -> Figures:
    task = Task(
        arm=arm,
        bootstrap=bootstrap,
        group=f"bench-{uuid.uuid4().hex}",
        events=size.events,
        warm_events=size.warm_events,
        transaction_events=TRANSACTION_EVENTS,
    )
    return msgspec.json.decode(run_module("bench.kafka_arm", task), type=Figures)


def run_module(module: str, task: Struct, timeout_s: float = RUN_TIMEOUT_S) -> str:
    """Run the module in a process of its own and return the last line of its output. Raise RuntimeError on failure."""
    command = [sys.executable, "-m", module, msgspec.json.encode(task).decode()]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=root, check=False)
    if done.returncode != 0 or not done.stdout:
        raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1]


def _figures(runs: dict[Arm, list[Figures]], size: Size) -> list[Figure]:
    bare = runs["bare"]
    made: list[Figure] = []
    for arm in size.arms:
        pairs = list(zip(bare, runs[arm], strict=True))
        rates = [one.wall_us / ours.wall_us for one, ours in pairs]
        cpu = [one.cpu_us / ours.cpu_us for one, ours in pairs]
        of = f"{OURS[arm]}; against the bare loop"
        made.append(median_figure("a", "events/s, ratio", rates, "", of=of, target=TARGETS.get(arm, "")))
        made.append(median_figure("a", "CPU per event, ratio", cpu, "", of=of))
    labels = {"bare": "bare loop", **OURS}
    for arm, figures in runs.items():
        made.append(median_figure("a", "wall per event", [each.wall_us for each in figures], "µs", of=labels[arm]))
        made.append(median_figure("a", "CPU per event", [each.cpu_us for each in figures], "µs", of=labels[arm]))
    peaks = [each.peak_mib for each in runs[size.arms[0]]]
    made.append(median_figure("d", "peak memory: worker, stages stubbed", peaks, "MiB", of="VmHWM, run of part a"))
    size_bytes = len(msgspec.json.encode(event(0)))
    made.append(Figure(part="a", name="event", value=size_bytes, unit="bytes", of="JSON, five turns"))
    return made
