"""The examples of a chat service, on the real broker with a worker that is killed: each request has one outcome."""

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT
from tests.e2e.test_conversation_state import Slot
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import responses

pytestmark = pytest.mark.kafka

EXAMPLES = ROOT / "docs" / "examples"
NODE_FILES = ROOT / "tests" / "data" / "chat_service"
"""A program that asks many questions at once through the example, and the lock of what it needs."""

REQUESTS = 40
KILL_AFTER = 10


def example() -> Any:
    """The module of the page."""
    path = EXAMPLES / "chat_service.py"
    spec = importlib.util.spec_from_file_location("chat_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chat_service"] = module
    spec.loader.exec_module(module)
    return module


def questions(chat: Any) -> list[dict[str, Any]]:
    """The events of a test; every tenth is invalid."""
    events = [chat.event_of(f"question {n}", tenant="t", conversation=f"c{n % 7}") for n in range(REQUESTS)]
    for event in events[::10]:
        event["messages"][0]["role"] = "function"
    return events


@contextmanager
def killed_in_between(slot: Slot, ended: list[Any]) -> Generator[None]:
    """Run a worker, kill it after some requests have ended, and run another one for the block."""
    with slot.worker() as process:
        wait_until(lambda: len(ended) >= KILL_AFTER)
        process.send(signal.SIGKILL)
        wait_until(lambda: process.exit_code is not None)
    assert len(ended) < REQUESTS, "the worker was killed too late to show anything"
    with slot.worker():
        yield


def assert_one_outcome_each(slot: Slot, events: list[dict[str, Any]], actions: list[str]) -> None:
    assert actions == ["rejected" if n % 10 == 0 else "published" for n in range(REQUESTS)]
    firsts = Counter(one.event_id for one in responses(slot.settings) if not one.duplicate_of)
    assert all(firsts[event["event_id"]] == 1 for n, event in enumerate(events) if n % 10)


def test_each_request_has_one_outcome_although_the_worker_is_killed(kafka: Kafka, tmp_path: Path) -> None:
    chat, slot = example(), Slot(kafka, tmp_path)
    topics = slot.settings.topics
    service = chat.ChatService(kafka.bootstrap, topics.events, topics.audited)
    events = questions(chat)
    ended: list[str] = []
    lock = threading.Lock()

    def ask(event: dict[str, Any]) -> Any:
        outcome = service.ask(event, timeout_s=15)
        with lock:
            ended.append(event["event_id"])
        return outcome

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, event) for event in events]
        with killed_in_between(slot, ended):
            outcomes = [future.result(timeout=300) for future in asked]
    service.close()
    assert [outcome.response["event_id"] for outcome in outcomes] == [event["event_id"] for event in events]
    assert_one_outcome_each(slot, events, [outcome.action for outcome in outcomes])


def _collect(lines: Iterable[str], ended: list[dict[str, Any]]) -> None:
    for line in lines:
        ended.append(json.loads(line))  # noqa: PERF401 -- others count them meanwhile


@pytest.mark.slow
@pytest.mark.install
def test_the_example_in_javascript_has_one_outcome_for_each_request_too(kafka: Kafka, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    for path in (*NODE_FILES.iterdir(), EXAMPLES / "chat_service.mjs"):
        (folder / path.name).write_bytes(path.read_bytes())
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
    slot, events = Slot(kafka, tmp_path), questions(example())
    (folder / "questions.json").write_text(json.dumps(events), encoding="utf-8")
    topics = slot.settings.topics
    command = ["node", "ask_all.mjs", kafka.bootstrap, topics.events, topics.audited, "questions.json"]
    ended: list[dict[str, Any]] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        reader = threading.Thread(target=_collect, args=(asking.stdout, ended), daemon=True)
        reader.start()
        try:
            with killed_in_between(slot, ended):
                assert asking.wait(timeout=300) == 0
        finally:
            asking.kill()
        reader.join(timeout=30)
    assert all(outcome["answered"] == outcome["event_id"] for outcome in ended)
    action_of = {outcome["event_id"]: outcome["action"] for outcome in ended}
    assert len(ended) == len(action_of) == REQUESTS
    assert_one_outcome_each(slot, events, [action_of[event["event_id"]] for event in events])


@pytest.mark.parametrize(
    ("response", "action", "may_again"),
    [
        ({"action": "published", "reason_codes": ["V99"]}, "published", False),
        ({"action": "refused", "reason_codes": ["V06b"]}, "refused", False),
        ({"action": "withheld", "reason_codes": ["V11b"]}, "withheld", False),
        ({"action": "withheld", "reason_codes": ["deadline", "generator_unreachable"]}, "withheld", True),
        ({"action": "withheld", "reason_codes": ["rate_limited"], "retry_after_ms": 5}, "withheld", True),
        ({"action": "withheld", "reason_codes": ["duplicate_event"], "duplicate_of": "a"}, "answered_before", False),
        ({"action": "rejected", "reason_codes": ["invalid"], "detail": "$.x: y"}, "rejected", False),
        ({"action": "sang", "reason_codes": ["V88"]}, "withheld", False),
    ],
)
def test_every_action_is_handled_and_an_unknown_one_is_withheld(
    response: dict[str, Any], action: str, may_again: bool
) -> None:
    chat = example()
    whole = {"event_id": "e", "audit_id": "x", "parts": [{"type": "text", "text": "said"}], **response}
    assert chat.outcome_of(whole).action == action
    assert chat.outcome_of(whole).text == (
        "said" if action not in {"rejected", "answered_before"} and action == response["action"] else chat.SORRY
    )
    assert chat.may_ask_again(whole) is may_again
