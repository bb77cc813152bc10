"""Doors, workers and brokers that go away: every request still has one outcome, and no text that was not audited."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import openai
import pytest
from msgspec.structs import replace

from tests.effort import LONG_FORM
from tests.plugins.door_process import client_at, door_process, state_worker
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import API_KEY, TRUSTED_KEY, client_of, door_settings, open_door
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, responses, running_loop
from topology.contract.events import parts_text
from workers.commands.demo.parts import free_port
from workers.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(7500 if LONG_FORM else 600)]

CLIENTS: Final = 8
KILLS: Final = 100 if LONG_FORM else 6
TIME_MAX_S: Final = float(os.environ.get("DOOR_KILLS_S", "7200"))
"""The time after which no further one is killed."""
THIEF: Final = "seen elsewhere: "


class Told(NamedTuple):
    """What a client was told."""

    audit_id: str
    event_id: str
    text: str


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
    """Clients that repeat a request, under one id, until it is answered, whoever dies meanwhile.

    The last one is of another tenant, and asks under the event ids that it has seen of the others.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.answers: dict[str, Told] = {}
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
        """Ask until it is over, as the client does: with its two retries; and then again."""
        turn = 0
        while not self._ended.is_set():
            turn += 1
            key = f"{number}-{turn}"
            if number == CLIENTS - 1:
                seen = list(self.answers.values())
                key = f"{THIEF}{seen[-1].event_id if seen else turn}"
            self.answers[key] = self.answer(key)

    def answer(self, key: str) -> Told:
        is_thief = key.startswith(THIEF)
        client = client_at(self._port, TRUSTED_KEY if is_thief else API_KEY, max_retries=2)
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                found = ask(client, f"Question {key}", extra_headers={"Idempotency-Key": key.removeprefix(THIEF)})
            except openai.OpenAIError as exc:
                self.errors[type(exc).__name__] += 1
                time.sleep(0.2)
            else:
                told = found.sluicegate
                return Told(told["audit_id"], told["event_id"], found.choices[0].message.content or "")
        raise TimeoutError(key)


def test_door_and_worker_are_killed_in_turn_and_every_request_has_one_outcome(kafka: Kafka, tmp_path: Path) -> None:
    settings: Settings = replace(fresh_settings(kafka), door=door_settings(tmp_path))
    port, began_s, done_count = free_port(), time.monotonic(), 0
    with ExitStack() as stack, Clients(port) as clients:
        door, worker = stack.enter_context(ExitStack()), stack.enter_context(ExitStack())
        door_at = door.enter_context(door_process(settings, tmp_path, port))[0]
        worker_at = worker.enter_context(state_worker(settings, tmp_path))
        for number in range(KILLS):
            if time.monotonic() - began_s > TIME_MAX_S:
                break
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
            done_count += 1
        clients.__exit__()
        again = {key: clients.answer(key) for key in list(clients.answers)[-CLIENTS * 4 :]}
    print(f"{done_count} kills, {len(clients.answers)} requests, errors that clients saw: {dict(clients.errors)}")
    assert {key: clients.answers[key] for key in again} == again
    census(settings, clients.answers)


def census(settings: Settings, told: dict[str, Told]) -> None:
    """Every request has one answer, which was audited; what a client was shown is its text; nobody had another's."""
    first = [response for response in responses(settings) if not response.duplicate_of]
    assert max(Counter(response.event_id for response in first).values()) == 1
    by_audit_id = {response.audit_id: response for response in first}
    audited = {record.audit_id for record in audits(settings)}
    assert {each.audit_id for each in told.values()} <= audited & by_audit_id.keys()
    for key, each in told.items():
        response = by_audit_id[each.audit_id]
        assert (response.event_id, parts_text(response.parts)) == (each.event_id, each.text)
        assert response.tenant_id == ("tenant-b" if key.startswith(THIEF) else "tenant-a")
    assert len(first) == len({each.event_id for each in told.values()}) == len(told)
