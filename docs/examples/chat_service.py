"""A chat service that waits for its answers: one request in, exactly one outcome out.

pip install kafka-python
python chat_service.py localhost:9092 "What can I cook with leeks?"
"""

import json
import sys
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

SEEN_MAX = 10_000
"""How many answers are kept, so that a second copy can be told what the first one said."""

POLL_MS = 500
TRIES_MAX = 5
RETRY_S = 1.0
SHOWN = frozenset({"published", "redacted", "safe_completed", "refused", "withheld"})
ASK_AGAIN = ("V01", "deadline", "overloaded", "rate_limited")
ASK_AGAIN_ENDS = ("_timeout", "_unreachable", "_overloaded", "_unparsable", "_crashed")
SORRY = "I can't give you an answer to this right now."


@dataclass(frozen=True)
class Outcome:
    """How a request ended, once. `text` is for the user.

    `action` is the response's, or `timeout` if there was none in time, or `answered_before` if an earlier process of
    this service got the answer: the one whose audit id is the response's `duplicate_of`.
    """

    action: str
    text: str
    response: Mapping[str, Any] | None = None


def event_of(text: str, *, tenant: str, conversation: str, event_id: str = "") -> dict[str, Any]:
    """Return the event of one question.

    Say `age_band` and `age_verified` in `user` if you have checked the age; without them, the user is taken for a teen.
    """
    return {
        "event_id": event_id or str(uuid.uuid4()),
        "conversation_id": conversation,
        "tenant_id": tenant,
        "messages": [{"role": "user", "parts": [{"type": "text", "text": text}]}],
        "user": {"locale": "en", "region": "GB"},
        "created_ms": int(time.time() * 1000),
    }


class ChatService:
    """Sends events and waits for their responses; several threads may ask at once."""

    def __init__(
        self, brokers: str, events: str = "conversations.events", audited: str = "conversations.audited"
    ) -> None:
        self._events = events
        self._producer: Any = KafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=0)
        # No group: each process reads every answer, and picks out those that it waits for. Only committed ones count.
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=brokers, isolation_level="read_committed", enable_auto_commit=False, group_id=None
        )
        places = [TopicPartition(audited, number) for number in sorted(self._consumer.partitions_for_topic(audited))]
        self._consumer.assign(places)
        self._consumer.seek_to_end(*places)
        for place in places:  # before anything is sent, so that no answer is missed
            self._consumer.position(place)
        self._seen: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._news = threading.Condition()
        self._is_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, event: Mapping[str, Any], *, timeout_s: float = 30.0) -> Outcome:
        """Send an event, wait for its outcome, and ask again with the same event id where that may help."""
        for number in range(TRIES_MAX):
            self._send(event)
            response = self._wait(event["event_id"], timeout_s)
            if response is None:
                continue  # no answer in time: the same event, under the same id
            if number + 1 == TRIES_MAX or not may_ask_again(response):
                return outcome_of(response)
            self._forget(event["event_id"])
            time.sleep(max(RETRY_S, response.get("retry_after_ms", 0) / 1000))
        return Outcome("timeout", SORRY)

    def close(self) -> None:
        """Stop reading, and close both clients."""
        self._is_ended = True
        self._reader.join()
        self._consumer.close()
        self._producer.close()

    def _send(self, event: Mapping[str, Any]) -> None:
        # The key is the conversation: its events are answered in this order.
        headers = [
            ("content-type", b"application/json"),
            ("sluicegate-schema", b"conversation-event/1"),
            ("x-correlation-id", event["event_id"].encode()),
        ]
        value, key = json.dumps(event).encode(), event["conversation_id"].encode()
        self._producer.send(self._events, value=value, key=key, headers=headers).get(timeout=30)

    def _forget(self, event_id: str) -> None:
        """Drop the answer of a try that failed: the next one's is to replace it."""
        with self._news:
            self._seen.pop(event_id, None)

    def _wait(self, event_id: str, timeout_s: float) -> Mapping[str, Any] | None:
        with self._news:
            self._news.wait_for(lambda: event_id in self._seen, timeout_s)
            return self._seen.get(event_id)

    def _read(self) -> None:
        while not self._is_ended:
            for records in self._consumer.poll(timeout_ms=POLL_MS).values():
                for record in records:
                    self._keep(json.loads(record.value))

    def _keep(self, response: Mapping[str, Any]) -> None:
        with self._news:
            known = self._seen.get(response["event_id"])
            if known is not None and response.get("duplicate_of"):
                return  # the first outcome stands
            self._seen[response["event_id"]] = response
            while len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            self._news.notify_all()


def may_ask_again(response: Mapping[str, Any]) -> bool:
    """Return whether the same event may be sent again: it was withheld for a failure, not by a verdict."""
    codes = response["reason_codes"]
    if response["action"] != "withheld" or response.get("duplicate_of"):
        return False
    return any(code in ASK_AGAIN or code.endswith(ASK_AGAIN_ENDS) for code in codes)


def outcome_of(response: Mapping[str, Any]) -> Outcome:
    """Return what the user is shown. An action that is not known here is taken for `withheld`."""
    action = response["action"]
    if action == "rejected":  # a bug of this service, not the user's: tell the developers
        print(f"event {response['event_id']} is invalid: {response['detail']}", file=sys.stderr)
        return Outcome(action, SORRY, response)
    if response.get("duplicate_of"):  # answered before this process began to read: the topic has that answer
        return Outcome("answered_before", SORRY, response)
    if action not in SHOWN:
        return Outcome("withheld", SORRY, response)
    parts = [part.get("text") or part.get("code") or "" for part in response["parts"]]
    return Outcome(action, "\n\n".join(parts), response)


if __name__ == "__main__":
    service = ChatService(sys.argv[1])
    asked = event_of(sys.argv[2], tenant="my-tenant", conversation=str(uuid.uuid4()))
    ended = service.ask(asked)
    print(f"{ended.action}: {ended.text}")
    service.close()
