"""The example of a chat service, on the real broker with a worker that is killed: each request has one outcome."""

import importlib.util
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT
from tests.e2e.test_conversation_state import Slot
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import responses

pytestmark = pytest.mark.kafka

REQUESTS = 40
KILL_AFTER = 10


def example() -> Any:
    """The module of the page."""
    path = ROOT / "docs" / "examples" / "chat_service.py"
    spec = importlib.util.spec_from_file_location("chat_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chat_service"] = module
    spec.loader.exec_module(module)
    return module


def test_each_request_has_one_outcome_although_the_worker_is_killed(kafka: Kafka, tmp_path: Path) -> None:
    chat, slot = example(), Slot(kafka, tmp_path)
    topics = slot.settings.topics
    service = chat.ChatService(kafka.bootstrap, topics.events, topics.audited)
    events = [chat.event_of(f"question {n}", tenant="t", conversation=f"c{n % 7}") for n in range(REQUESTS)]
    for event in events[::10]:
        event["messages"][0]["role"] = "function"
    ended: list[str] = []
    lock = threading.Lock()

    def ask(event: dict[str, Any]) -> Any:
        outcome = service.ask(event, timeout_s=15)
        with lock:
            ended.append(event["event_id"])
        return outcome

    with ThreadPoolExecutor(4) as pool:
        with slot.worker() as process:
            asked = [pool.submit(ask, event) for event in events]
            wait_until(lambda: len(ended) >= KILL_AFTER)
            process.send(signal.SIGKILL)
            wait_until(lambda: process.exit_code is not None)
        assert len(ended) < REQUESTS, "the worker was killed too late to show anything"
        with slot.worker():
            outcomes = [future.result(timeout=300) for future in asked]
    service.close()
    expected = ["rejected" if n % 10 == 0 else "published" for n in range(REQUESTS)]
    assert [outcome.action for outcome in outcomes] == expected
    assert all(
        outcome.response["event_id"] == event["event_id"] for outcome, event in zip(outcomes, events, strict=True)
    )
    firsts = Counter(one.event_id for one in responses(slot.settings) if not one.duplicate_of)
    assert all(firsts[event["event_id"]] == 1 for n, event in enumerate(events) if n % 10)


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
