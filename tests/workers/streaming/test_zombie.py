"""A worker that is stopped in mid-stream, its successor, and what readers show once it wakes: on the real broker."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.effort import LONG_FORM
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from tests.workers.streaming import stream_process
from topology.contract.codec import encode
from topology.contract.names import DraftSource
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.streaming.reader_rule import Shown
from topology.streaming.tokens import Order, order
from workers.kafka.reader import read_topic

pytestmark = pytest.mark.kafka

STOPPED_S = 40.0 if LONG_FORM else 3.0
PRODUCERS = (7, 8)


class Writer:
    """The process of the first worker."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        command = [sys.executable, "-m", "tests.workers.streaming.stream_process", kafka.bootstrap, topic, "1"]
        self.process = subprocess.Popen([*command, str(PRODUCERS[0]), "old", "0.05"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._lines = self.process.stdout

    def until(self, start: str) -> str:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            line = self._lines.readline()
            if line.startswith(start):
                return line.strip()
            assert line, "the process ended"
        raise AssertionError(f"no {start!r} in time")

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.topic(1, {"message.timestamp.type": "LogAppendTime"})


@pytest.fixture
def writer(kafka: Kafka, topic: str) -> Iterator[Writer]:
    made = Writer(kafka, topic)
    yield made
    made.end()


def records(kafka: Kafka, topic: str) -> list[StreamRecord]:
    read = read_topic(kafka.settings(), topic, PATIENCE_S)
    return [msgspec.json.decode(record.value or b"", type=StreamRecord) for record in read]


@pytest.mark.timeout(180)
def test_no_reader_shows_a_segment_of_a_lower_token_after_a_higher_one_opened(
    kafka: Kafka, topic: str, writer: Writer
) -> None:
    writer.until("released 3")
    event_ms = int(time.time() * 1000)
    writer.process.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    streams = stream_process.streams_of(kafka.bootstrap, topic, 2, PRODUCERS[1])
    try:
        sent = asyncio.run(stream_process.stream(streams, event_ms, "new", 5, 0.05))
    finally:
        streams.close()
    assert sent.startswith("old0. old1. old2. old3. ")
    assert sent.endswith("new0. new1. new2. new3. new4. ")
    time.sleep(max(0.0, STOPPED_S - (time.monotonic() - began_s)))
    writer.process.send_signal(signal.SIGCONT)
    assert writer.until("end") == "end replaced: another run has a higher token"
    # And the worst of zombies, which looks at nothing.
    old = next(record for record in records(kafka, topic) if record.kind is StreamKind.OPENED)
    worst = msgspec.structs.replace(
        old, kind=StreamKind.SEGMENT, sequence=sent.count(".") + 1, text="zombie. ", source=DraftSource.GENERATOR
    )
    kafka.send(topic, encode(old), encode(worst), key=old.audit_id.encode(), partition=0)
    shown, highest = Shown(), old.token
    for record in records(kafka, topic):
        if record.kind is StreamKind.OPENED and order(record.token, highest) is Order.HIGHER:
            highest = record.token
        if shown.take(record):
            assert record.token == highest
    assert highest == StreamToken(generation=2, epoch=0, producer_id=PRODUCERS[1], run=1)
    assert shown.text == sent
