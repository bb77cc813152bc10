"""Doors, workers and brokers that go away: every request still has one outcome, and no text that was not audited."""

import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import openai
import pytest
from msgspec.structs import replace

from tests.plugins.door_process import client_at, door_process, state_worker
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import client_of, door_settings, open_door
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, responses, running_loop
from workers.commands.demo.parts import free_port
from workers.settings import Settings

pytestmark = pytest.mark.kafka

CLIENTS: Final = 4
KILLS: Final = 6


def ask(client: openai.OpenAI, text: str, **changes: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": "sluicegate", "messages": messages, **changes})


def test_a_broker_that_is_down_is_told_and_the_same_door_goes_on_afterwards(kafka: Kafka, tmp_path: Path) -> None:
    settings = replace(fresh_settings(kafka), door=door_settings(tmp_path, deadline_s=3))
    with open_door(settings) as door:
        client = client_of(door)
        with running_loop(settings):
            wait_until(lambda: is_answered(client, "before"))
        kafka.broker.stop()
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "meanwhile")
        assert caught.value.status_code in {503, 504}
        kafka.repair()
        with running_loop(settings):
            wait_until(lambda: is_answered(client, "after"))


def is_answered(client: openai.OpenAI, text: str) -> bool:
    """Whether an answer came before the door's deadline, which a busy machine may miss."""
    try:
        return bool(ask(client, text).choices)
    except openai.InternalServerError:
        return False


class Clients:
    """Clients that repeat a request, under one id, until it is answered, whoever dies meanwhile."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.answers: dict[str, tuple[str, str | None]] = {}
        self.errors: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def _work(self, number: int) -> None:
        client = client_at(self._port, max_retries=2)
        turn = 0
        while not self._ended.is_set():
            turn += 1
            self.answers[f"{number}-{turn}"] = self.answer(client, f"{number}-{turn}")

    def answer(self, client: openai.OpenAI, key: str) -> tuple[str, str | None]:
        """Return audit id and text."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                found = ask(client, f"Question {key}", extra_headers={"Idempotency-Key": key})
            except openai.OpenAIError as exc:
                self.errors[type(exc).__name__] += 1
                time.sleep(0.2)
            else:
                return found.sluicegate["audit_id"], found.choices[0].message.content
        raise TimeoutError(key)


def test_door_and_worker_are_killed_in_turn_and_every_request_has_one_outcome(kafka: Kafka, tmp_path: Path) -> None:
    settings: Settings = replace(fresh_settings(kafka), door=door_settings(tmp_path))
    port = free_port()
    with ExitStack() as stack, Clients(port) as clients:
        door, worker = stack.enter_context(ExitStack()), stack.enter_context(ExitStack())
        door_at = door.enter_context(door_process(settings, tmp_path, port))[0]
        worker_at = worker.enter_context(state_worker(settings, tmp_path))
        for number in range(KILLS):
            answered = len(clients.answers)
            wait_until(lambda answered=answered: len(clients.answers) > answered + CLIENTS)
            time.sleep(random.Random(number).random())
            if number % 2:
                worker_at.send(signal.SIGKILL)
                worker.close()
                worker_at = worker.enter_context(state_worker(settings, tmp_path))
            else:
                door_at.send(signal.SIGKILL)
                door.close()
                door_at = door.enter_context(door_process(settings, tmp_path, port))[0]
        clients.__exit__()
        reader = client_at(port)
        again = {key: clients.answer(reader, key) for key in list(clients.answers)[-CLIENTS * 4 :]}
    assert {key: clients.answers[key] for key in again} == again
    first = [response for response in responses(settings) if not response.duplicate_of]
    assert max(Counter(response.event_id for response in first).values()) == 1
    audited = {record.audit_id for record in audits(settings)}
    assert {audit_id for audit_id, _ in clients.answers.values()} <= audited
    assert len(first) == len(clients.answers)
