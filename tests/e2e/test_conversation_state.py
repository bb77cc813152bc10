"""On the real broker, with processes that die: what a conversation was given still counts, and nothing is asked twice.

The test starts the worker again, as a supervisor does.
"""

import signal
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from tests.checkout import ROOT
from tests.e2e.state_worker import settings_of
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import audits, question, responses, send
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.events import Action, AuditedResponse, AuditRecord, ConversationEvent, Message, Role, TextPart
from topology.contract.labels import CategoryId
from topology.decision.recompute import recompute
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from workers.kafka.reader import read_topic
from workers.kafka.topics import create_topics
from workers.process.child import KeptProcess
from workers.settings import Settings

pytestmark = pytest.mark.kafka

WEAPONS = CategoryId("weapons.conventional")
RECIPE = (
    f"{WEAPONS} 3 malicious 3 0",
    f"{WEAPONS} 3 dual_use 3 1",
    f"{WEAPONS} 3 benign 3 2",
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
        wait_until(lambda: len(responses(self.settings)) >= count)

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


class Lived(NamedTuple):
    """What became of two conversations with the same turns, of which one met a new worker for every turn."""

    slot: Slot
    kept: list[AuditRecord]
    killed: list[AuditRecord]
    answers: list[AuditedResponse]


@pytest.fixture(scope="module")
def lived(kafka_session: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """The last worker also gets second copies of what each of the two that were killed had answered."""
    slot = Slot(kafka_session, tmp_path_factory.mktemp("state"))
    whole, split = turns("whole", RECIPE), turns("split", RECIPE)
    with slot.worker() as process:
        slot.answer([*whole, split[0]], 4)
        process.send(signal.SIGKILL)
    with slot.worker() as process:
        slot.answer([split[1]], 5)
        process.send(signal.SIGKILL)
    with slot.worker():
        slot.answer([split[0], split[1], split[2], split[2]], 9)
    found = audits(slot.settings)
    kept, killed = (
        [record for record in found if record.conversation_id == name and not record.duplicate_of]
        for name in ("whole", "split")
    )
    return Lived(slot, kept, killed, responses(slot.settings))


def test_a_kill_between_two_turns_raises_no_ceiling(lived: Lived) -> None:
    assert [record.plan for record in lived.killed] == [record.plan for record in lived.kept]
    ceilings = [record.plan.ceilings[WEAPONS] for record in lived.killed if record.plan is not None]
    assert ceilings == [0, 0, 0]
    assert f"C9:{WEAPONS}" in (lived.killed[2].plan.rule_ids if lived.killed[2].plan else ())


def test_every_turn_begins_with_what_the_last_one_left(lived: Lived) -> None:
    assert lived.killed[0].state_before == EMPTY
    for before, after in pairwise(lived.killed):
        assert after.state_before == before.state_after
    assert lived.slot.states()["split"] == lived.killed[-1].state_after


def test_the_audit_record_alone_gives_plan_and_verdicts_again(lived: Lived) -> None:
    for record in (*lived.kept, *lived.killed):
        again = recompute(record, packaged_bundle(), STRICTEST)
        assert again.plan == record.plan
        assert again.verdicts == tuple(attempt.verdict for attempt in record.attempts)


def test_a_second_copy_is_answered_but_not_generated_again_also_by_the_next_worker(lived: Lived) -> None:
    first = {record.event_id: record.audit_id for record in lived.killed}
    copies = [answer for answer in lived.answers if answer.duplicate_of]
    assert [(copy.event_id, copy.duplicate_of) for copy in copies] == list(first.items())
    assert {(copy.action, copy.reason_codes) for copy in copies} == {(Action.WITHHELD, ("duplicate_event",))}
    assert lived.slot.asked_count() == 6
