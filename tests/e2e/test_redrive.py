"""Dead letters put back and events replayed by commands that are killed: each once, under their first position."""

import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeter

from tests.checkout import ROOT
from tests.plugins.dead_letter_desk import Desk, header_of
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings, running_loop
from topology.contract.headers import last_header
from topology.contract.lineage import origin_of, source_of
from topology.contract.names import Header
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.cli import main
from workers.kafka.reader import read_topic
from workers.settings import Settings

pytestmark = pytest.mark.kafka

LETTERS = 400
KILLED_AFTER = (1, 15, 30)
"""Copies on the topic when the process is killed: between two transactions, or in the middle of one."""

RATE = "10"
"""A second: the last of the letters would come after 40 s, however busy the machine."""


def started(desk: Desk, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workers.cli", "--config", str(desk.config), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_at(desk: Desk, topic: str, count: int, *arguments: str) -> None:
    """Run a command until `count` of its copies can be read, then kill -9."""
    process = started(desk, *arguments)
    try:
        wait_until(lambda: process.poll() is not None or len(desk.kafka.values(topic)) >= count)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def ended(desk: Desk, *arguments: str) -> tuple[int, str, str]:
    process = started(desk, *arguments)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def expected() -> Counter[bytes]:
    return Counter(b"%d" % number for number in range(LETTERS))


def test_a_redrive_killed_again_and_again_puts_each_letter_back_once(kafka: Kafka, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path)
    desk.bury(*(b"%d" % number for number in range(LETTERS)))
    topic = desk.topics["events"]
    for count in KILLED_AFTER:
        killed_at(desk, topic, count, "dlq", "redrive", "--yes", "--rate", RATE)
    assert 0 < len(kafka.values(topic)) < LETTERS
    status, out, err = ended(desk, "dlq", "redrive", "--yes")
    assert status == 0, err
    assert re.search(r"left out: \d+ redriven", out)
    assert Counter(kafka.values(topic)) == expected()
    assert "to put back: 0" in ended(desk, "dlq", "redrive", "--yes")[1]


def test_a_replay_killed_again_and_again_copies_each_event_once(kafka: Kafka, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path)
    kafka.send(desk.topics["events"], *(b"%d" % number for number in range(LETTERS)), key=b"k")
    into = kafka.topic(2)
    end = max(record.offset for record in desk.put_back()) + 1
    partition = desk.put_back()[0].partition
    wanted = ("replay", "--from", f"{partition}:0", "--to", f"{partition}:{end}", "--into", into)
    for count in KILLED_AFTER:
        killed_at(desk, into, count, *wanted, "--rate", RATE)
    assert 0 < len(kafka.values(into)) < LETTERS
    assert ended(desk, *wanted)[0] == 0
    assert Counter(kafka.values(into)) == expected()


def test_ctrl_c_ends_between_two_transactions_and_says_how_far_it_came(kafka: Kafka, tmp_path: Path) -> None:
    desk = Desk(kafka, tmp_path)
    desk.bury(*(b"%d" % number for number in range(LETTERS)))
    process = started(desk, "dlq", "redrive", "--yes", "--rate", RATE)
    wait_until(lambda: len(kafka.values(desk.topics["events"])) >= 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "sluicegate: interrupted"
    told = re.search(rf"put back on {desk.topics['events']}: (\d+) of {LETTERS}\n", out)
    assert told is not None
    assert len(kafka.values(desk.topics["events"])) == int(told[1]) < LETTERS
    assert "run the same command again to continue" in out


def configured(settings: Settings, directory: Path) -> Path:
    """A settings file that names the same brokers, group and topics."""
    path = directory / "sluicegate.toml"
    servers = ", ".join(f'"{server}"' for server in settings.kafka.bootstrap_servers)
    topics = settings.topics
    path.write_text(
        f'[kafka]\nbootstrap_servers = [{servers}]\ngroup_id = "{settings.kafka.group_id}"\n'
        f'[topics]\nevents = "{topics.events}"\ndead_letters = "{topics.dead_letters}"\n'
    )
    return path


def test_a_record_that_fails_twice_keeps_its_first_position(kafka: Kafka, tmp_path: Path) -> None:
    settings = fresh_settings(kafka)
    config, topics = configured(settings, tmp_path), settings.topics
    kafka.send_record(topics.events, b"{no event", b"c1", [("own", b"1")])
    with running_loop(settings):
        wait_until(lambda: len(kafka.values(topics.dead_letters)) == 1)
        assert main(["--config", str(config), "dlq", "redrive", "--yes"]) == 0
        wait_until(lambda: len(kafka.values(topics.dead_letters)) == 2)
    first, second = read_topic(settings.kafka, topics.dead_letters)
    before, again = read_topic(settings.kafka, topics.events)
    assert origin_of(first.headers) == source_of(first.headers) == origin_of(second.headers)
    read_again = source_of(second.headers)
    assert read_again is not None
    assert (read_again.partition, read_again.offset) == (again.partition, again.offset) != (0, before.offset)
    assert header_of([first, second], Header.REDRIVEN) == [None, "1"]
    assert last_header(second.headers, Header.REDRIVEN_FROM) == f"{first.topic}:{first.partition}:{first.offset}"
    assert second.value == before.value == again.value
    assert header_of([again, second], "own") == ["1", "1"]


class LagSeen(Instruments):
    """Instruments that keep every lag that a worker shows, by partition."""

    def __init__(self) -> None:
        super().__init__(NoOpMeter("lag"))
        self.lags: defaultdict[int, list[float]] = defaultdict(list)

    def gauge_set(self, name: str, value: float, **labels: str) -> None:
        super().gauge_set(name, value, **labels)
        if name == Metric.CONSUMER_LAG:
            self.lags[int(labels["partition"])].append(value)


def test_a_worker_has_no_lag_after_a_redrive_although_its_transaction_ended_with_a_marker(
    kafka: Kafka, tmp_path: Path
) -> None:
    settings, metrics = fresh_settings(kafka), LagSeen()
    config, topics = configured(settings, tmp_path), settings.topics
    kafka.send_record(topics.events, b"{no event", b"c1", [])
    with running_loop(settings, metrics=metrics):
        wait_until(lambda: len(kafka.values(topics.dead_letters)) == 1)
        assert main(["--config", str(config), "dlq", "redrive", "--yes"]) == 0
        wait_until(lambda: len(kafka.values(topics.dead_letters)) == 2)
        (partition,) = {record.partition for record in read_topic(settings.kafka, topics.events)}
        known = len(metrics.lags[partition])
        wait_until(lambda: len(metrics.lags[partition]) > known + 2)
    assert metrics.lags[partition][-1] == 0
