"""On the real broker, with processes that die: an event that kills its worker alone three times ends, others do not.

The test restarts the worker, as a supervisor does.
"""

import signal
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.e2e.poison_worker import EXIT_KILLED, settings_of
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, question, responses, send
from topology.contract.events import Action, ConversationEvent, Message, Role, TextPart
from topology.contract.headers import last_header
from topology.contract.names import Header
from topology.contract.records import Record
from workers.kafka.reader import read_topic
from workers.kafka.topics import create_topics
from workers.process.child import KeptProcess
from workers.settings import Settings

pytestmark = pytest.mark.kafka

CRASHES_MAX = 12
"""Bound of the test, not what it asserts."""


class Slot:
    """One slot whose worker is started again whenever it has ended."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        self._arguments = (kafka.bootstrap, f"poison-{uuid.uuid4().hex[:8]}", str(directory))
        self.directory = directory
        self.settings: Settings = settings_of(self._arguments[0], self._arguments[1], directory)
        create_topics(self.settings.kafka, self.settings.topics)

    @contextmanager
    def worker(self) -> Generator[KeptProcess]:
        command = [sys.executable, "-m", "tests.e2e.poison_worker", *self._arguments]
        process = KeptProcess(command, log=self.directory / "worker.log", directory=ROOT)
        try:
            yield process
        finally:
            process.kill()

    def letters(self) -> list[Record]:
        return read_topic(self.settings.kafka, self.settings.topics.dead_letters)

    def wait_started(self, process: KeptProcess) -> None:
        """Returns once a slow event runs in that process."""
        wait_until(lambda: bool(list(self.directory.glob(f"started-{process.pid}"))))

    def wait_ended_or_answered(self, process: KeptProcess, count: int) -> None:
        """Reading the topic costs more than looking at the process."""
        deadline_s = time.monotonic() + PATIENCE_S
        while process.exit_code is None and len(responses(self.settings)) < count:
            assert time.monotonic() < deadline_s
            time.sleep(0.5)


def asked(number: int, conversation: str, text: str) -> ConversationEvent:
    messages = (Message(role=Role.USER, parts=(TextPart(text=text),)),)
    return question(number, conversation, messages=messages)


def test_a_poison_event_ends_after_three_crashes_alone_and_all_others_are_answered_once_in_order(
    kafka: Kafka, tmp_path: Path
) -> None:
    """It stands among others of its own conversation and of its partition; sixteen events run at once."""
    slot = Slot(kafka, tmp_path)
    events = [
        asked(number, f"c{number % 13}", "poison" if number == 20 else f"question {number}") for number in range(80)
    ]
    positions = send(slot.settings, events)
    crash_count = 0
    while crash_count < CRASHES_MAX:
        with slot.worker() as process:
            slot.wait_ended_or_answered(process, len(events))
            if process.exit_code is None:
                break
            assert process.exit_code == EXIT_KILLED, (tmp_path / "worker.log").read_text()
            crash_count += 1
    # With others, as one of several suspects, and then three times alone; the second may happen to be alone as well.
    assert 4 <= crash_count <= 5
    (letter,) = slot.letters()
    assert last_header(letter.headers, Header.ORIGINAL_OFFSET) == str(positions[20][2])
    assert last_header(letter.headers, Header.REASON) == "poison"
    assert last_header(letter.headers, Header.DETAIL) == "ran in 3 processes when they crashed"
    found = responses(slot.settings)
    (other,) = [response for response in found if response.action is not Action.PUBLISHED]
    assert (other.event_id, other.action, other.reason_codes) == ("e20", Action.WITHHELD, ("poison",))
    for key in {event.conversation_id for event in events}:
        expected = [event.event_id for event in events if event.conversation_id == key]
        assert [response.event_id for response in found if response.conversation_id == key] == expected
    assert sorted(audit.event_id for audit in audits(slot.settings)) == sorted(event.event_id for event in events)


def test_a_slow_event_outlives_two_kills_and_a_drain_between_them(kafka: Kafka, tmp_path: Path) -> None:
    """Were the drain counted too, these would be three crashes."""
    slot = Slot(kafka, tmp_path)
    send(slot.settings, [asked(1, "c", "slow")])
    for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with slot.worker() as process:
            slot.wait_started(process)
            process.send(end)
            wait_until(lambda: process.exit_code is not None)
            assert process.exit_code == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    assert not responses(slot.settings)
    (tmp_path / "release").touch()
    with slot.worker():  # the last one that is counted: a third kill would have been one too many
        wait_until(lambda: bool(responses(slot.settings)))
    (response,) = responses(slot.settings)
    assert response.action is Action.PUBLISHED
    assert not slot.letters()
