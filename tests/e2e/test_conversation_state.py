"""On the real broker, with processes that die: what a conversation was given still counts, and nothing is asked twice.

The test starts the worker again, as a supervisor does.
"""

import signal
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.e2e.state_worker import settings_of
from tests.plugins.kafka_broker import Kafka, wait_until
from tests.plugins.running_worker import audits, question, responses, send
from topology.conversation import EMPTY, ConversationState
from topology.events import Action, AuditRecord, ConversationEvent, Message, Role, TextPart
from topology.labels import CategoryId, Intent
from topology.overlays import STRICTEST
from topology.policy import packaged_bundle
from topology.recompute import recompute
from workers.kept_process import KeptProcess
from workers.reader import read_topic
from workers.settings import Settings
from workers.topics import create_topics

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
ANSWERED_S = 90.0
WEAPONS = CategoryId("weapons.conventional")
RECIPE = (
    f"{WEAPONS} 3 malicious 3 0",
    f"{WEAPONS} 3 dual_use 3 1",
    f"{WEAPONS} 3 benign 3 2",
    f"{WEAPONS} 3 dual_use 3 1",
)
"""An aim that is stated once, and then asked for piece by piece."""


class Slot:
    """One slot with a worker that remembers."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        self._arguments = (kafka.bootstrap, f"state-{uuid.uuid4().hex[:8]}", str(directory))
        self.directory = directory
        self.settings: Settings = settings_of(*self._arguments[:2])
        create_topics(self.settings.kafka, self.settings.topics)

    @contextmanager
    def worker(self) -> Generator[KeptProcess]:
        command = [sys.executable, "-m", "tests.e2e.state_worker", *self._arguments]
        process = KeptProcess(command, log=self.directory / "worker.log", directory=ROOT)
        try:
            yield process
        finally:
            process.kill()

    def answer(self, events: Sequence[ConversationEvent], count: int) -> None:
        """Send events and wait until so many were answered in all."""
        send(self.settings, events)
        wait_until(lambda: len(responses(self.settings)) >= count, ANSWERED_S)

    def audits_of(self, conversation: str) -> list[AuditRecord]:
        """In order of their turns."""
        return [record for record in audits(self.settings) if record.conversation_id == conversation]

    def states(self) -> dict[str, ConversationState]:
        """The last state of each conversation."""
        records = read_topic(self.settings.kafka, self.settings.topics.state)
        found = [(record.key or b"", record.value or b"") for record in records]
        return {key.decode(): msgspec.json.decode(value, type=ConversationState) for key, value in found}

    def asked_count(self) -> int:
        """Requests to the generator so far."""
        return len((self.directory / "asked").read_text().splitlines())


def turns(conversation: str, texts: Sequence[str]) -> list[ConversationEvent]:
    return [
        question(
            number,
            conversation,
            event_id=f"{conversation}-{number}",
            messages=(Message(role=Role.USER, parts=(TextPart(text=text),)),),
        )
        for number, text in enumerate(texts)
    ]


def test_a_kill_between_two_turns_raises_no_ceiling(kafka: Kafka, tmp_path: Path) -> None:
    """The same turns in two conversations: one meets a worker that lives, the other a new one for every turn."""
    slot = Slot(kafka, tmp_path)
    whole, split = turns("whole", RECIPE), turns("split", RECIPE)
    with slot.worker():
        slot.answer(whole, 4)
    for number, turn in enumerate(split):
        with slot.worker() as process:
            slot.answer([turn], 5 + number)
            process.send(signal.SIGKILL)
    kept, killed = slot.audits_of("whole"), slot.audits_of("split")
    assert [record.plan for record in killed] == [record.plan for record in kept]
    ceilings = [record.plan.ceilings[WEAPONS] for record in killed if record.plan is not None]
    assert ceilings == [0, 0, 0, 0]
    assert killed[0].state_before == EMPTY
    for before, after in zip(killed, killed[1:], strict=False):
        assert after.state_before == before.state_after
    assert slot.states()["split"] == killed[-1].state_after
    assert killed[-1].state_before.intent_of(WEAPONS) is Intent.MALICIOUS
    for record in killed:
        again = recompute(record, packaged_bundle(), STRICTEST)
        assert again.plan == record.plan
        assert again.verdicts == tuple(attempt.verdict for attempt in record.attempts)
