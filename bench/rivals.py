"""Events per second beside other clients' loops: `python -m bench.rivals`.

Each arm reads an event, decodes its JSON, and writes two records of the sizes and header counts that Sluicegate writes,
exactly once: Sluicegate's worker with its whole audit assembly (guards and model answer at once), the bare loop on
kafka-python, a bare loop on confluent-kafka (librdkafka), and Kafka Streams (`bench/streams/Loop.java`, exactly once,
transactions of its own 100 ms). The arms take turns in one run; a figure is the median of its runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import Struct

from bench.kafka_arm import Arm, Figures, Meter, Task
from bench.kafka_ratio import TRANSACTION_EVENTS, Say, produce, run_module
from bench.report import Figure, machine, median_figure, table
from bench.world import sample_output
from topology.contract.events import ConversationEvent
from topology.contract.names import Topic
from workers.development.broker import DevelopmentBroker
from workers.development.jars import fetch_jars
from workers.settings import Settings

STREAMS = Path(__file__).with_name("streams")
PROGRAM = "Loop.java"
RETENTION = {"log.segment.bytes": "67108864", "log.retention.bytes": "536870912"}
FETCH_TIMEOUT_S = 300
RUN_TIMEOUT_S = 180
POLL_S = 0.05
NAMES: dict[str, str] = {
    "off": "Sluicegate, tracing off",
    "bare": "kafka-python",
    "confluent": "confluent-kafka",
    "streams": "Kafka Streams",
}
OURS: dict[str, Arm] = {"off": "off", "bare": "bare"}


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement. Java has compiled what is run often after some ten thousand events."""

    events: int = 30_000
    warm_events: int = 10_000
    rounds: int = 5
    uncounted: int = 1
    """Rounds during which the broker compiles itself."""


class Cost(Struct, frozen=True):
    """Wall and CPU time of an event, in microseconds."""

    wall_us: float
    cpu_us: float


def run_confluent(task: Task) -> Figures:
    """Run a bare loop on confluent-kafka: decode the event, write the same two records."""
    decoder = msgspec.json.Decoder(ConversationEvent)
    outputs = sample_output()
    common = {"bootstrap.servers": task.bootstrap}
    reading = {"group.id": task.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer({**common, **reading, "isolation.level": "read_committed"})
    producer = Producer({**common, "transactional.id": task.group, "linger.ms": 3})
    producer.init_transactions(30)
    consumer.subscribe([Topic.EVENTS.value])
    meter = Meter(task, [os.getpid()])
    while meter.figures is None:
        records = consumer.consume(task.transaction_events, POLL_S)
        if not records:
            continue
        producer.begin_transaction()
        for record in records:
            decoder.decode(record.value() or b"")
            for out in outputs:
                producer.produce(out.topic, value=out.value, key=record.key(), headers=list(out.headers))
        positions = consumer.position([TopicPartition(each.topic, each.partition) for each in consumer.assignment()])
        offsets = [position for position in positions if position.offset >= 0]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        meter.committed(len(records))
    consumer.close()
    return meter.figures


def main(arguments: Sequence[str]) -> int:
    """Measure all arms, or run the one that the first argument describes."""
    if arguments and arguments[0].startswith("{"):
        print(msgspec.json.encode(run_confluent(msgspec.json.decode(arguments[0], type=Task))).decode())
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=Size().rounds, help="runs of each arm (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory(prefix="sluicegate-rivals-") as directory:
        broker = DevelopmentBroker(Path(directory, "kafka"), properties=RETENTION, say=say)
        broker.start()
        try:
            figures = measure(broker.bootstrap, Path(directory), Size(rounds=rounds), say)
        finally:
            broker.stop()
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(table(figures))
    return 0


def measure(bootstrap: str, directory: Path, size: Size, say: Say) -> list[Figure]:
    """Return events per second of each arm, by the clock and by CPU time, and ours against each."""
    jars = _compiled(directory)
    produce(bootstrap, size.events + 2 * TRANSACTION_EVENTS + Settings().limits.queue_events_max, say)
    costs: dict[str, list[Cost]] = {name: [] for name in NAMES}
    for number in range(size.uncounted + size.rounds):
        for name, done in costs.items():
            cost = _run(name, bootstrap, directory, jars, size)
            say(f"round {number} {NAMES[name]}: {cost.wall_us:.0f} µs, CPU {cost.cpu_us:.0f} µs")
            if number >= size.uncounted:
                done.append(cost)
    return _figures(costs)


def _figures(costs: dict[str, list[Cost]]) -> list[Figure]:
    made: list[Figure] = []
    for name, runs in costs.items():
        of = NAMES[name]
        made.append(median_figure("a", "events/s", [1e6 / each.wall_us for each in runs], "events/s", of=of))
        per_core = [1e6 / each.cpu_us for each in runs]
        made.append(median_figure("a", "events per second of CPU time", per_core, "events", of=of))
    for name in ("bare", "confluent", "streams"):
        ratios = [other.wall_us / ours.wall_us for ours, other in zip(costs["off"], costs[name], strict=True)]
        made.append(median_figure("a", "events/s, ratio", ratios, "", of=f"Sluicegate against {NAMES[name]}"))
    return made


def _run(name: str, bootstrap: str, directory: Path, jars: str, size: Size) -> Cost:
    if name == "streams":
        return _run_streams(bootstrap, directory, jars, size)
    task = Task(
        arm=OURS.get(name, "bare"),
        bootstrap=bootstrap,
        group=f"rivals-{uuid.uuid4().hex}",
        events=size.events,
        warm_events=size.warm_events,
        transaction_events=TRANSACTION_EVENTS,
    )
    module = "bench.kafka_arm" if name in OURS else "bench.rivals"
    return msgspec.json.decode(run_module(module, task), type=Cost)


def _run_streams(bootstrap: str, directory: Path, jars: str, size: Size) -> Cost:
    group = f"rivals-{uuid.uuid4().hex}"
    outputs = [str(part) for out in sample_output() for part in (out.topic, len(out.value or b""), len(out.headers))]
    given = [
        bootstrap,
        group,
        str(directory / group),
        Topic.EVENTS.value,
        *map(str, (size.events, size.warm_events)),
        *outputs,
    ]
    done = subprocess.run(
        ["java", "-Xmx512m", "-cp", jars, "Loop", *given],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=True,
    )
    return msgspec.json.decode(next(line for line in done.stdout.splitlines() if line.startswith("{")), type=Cost)


def _compiled(directory: Path) -> str:
    """Return the class path of the Java program, once its library is fetched and it is compiled."""
    fetched, classes = directory / "jars", directory / "classes"
    command = ["mvn", "-B", "-q", "-C", "-f", str(STREAMS / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
    subprocess.run(command, check=True, timeout=FETCH_TIMEOUT_S)
    path = f"{fetch_jars()}/*:{fetched}/*"
    subprocess.run(["javac", "-d", str(classes), "-cp", path, str(STREAMS / PROGRAM)], check=True, timeout=60)
    return f"{classes}:{path}"


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - _STARTED_S:5.0f} s] {line}", file=sys.stderr, flush=True)


_STARTED_S = time.monotonic()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
