"""A reader of streamed answers: what it shows while the model writes, and what the response makes of it.

pip install kafka-python
python stream_reader.py localhost:9092 "What can I cook with leeks?"
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

GRACE_S = 30.0
"""How long after the event's deadline the response is awaited."""

LOWER, SAME, HIGHER, UNKNOWN = "lower", "same", "higher", "unknown"

Token = Mapping[str, int]


def order(token: Token, other: Token) -> str:
    """Return how a token stands to another one; `unknown`: they cannot be compared."""
    if token["generation"] == other["generation"] and token["producer_id"] != other["producer_id"]:
        return UNKNOWN
    mine, theirs = ((each["generation"], each["epoch"], each["run"]) for each in (token, other))
    return SAME if mine == theirs else HIGHER if mine > theirs else LOWER


class StreamedAnswer:
    """One answer, by its audit id: give it every record, in the partition's order, and then the response's text.

    A reader that began only after the event was written may have missed who opened: it shows the response alone.
    """

    def __init__(self, *, is_from_start: bool = True) -> None:
        self.shown = ""
        self.is_waiting = not is_from_start
        """Whether nothing more is shown until the response."""
        self._highest: Token | None = None
        self._next = 1

    def take(self, record: Mapping[str, Any]) -> str:
        """Return the text to show after a record; empty if it changes nothing."""
        if self.is_waiting:
            return ""
        token = record["token"]
        stands = HIGHER if self._highest is None else order(token, self._highest)
        if record["kind"] == "opened":
            self.is_waiting = stands == UNKNOWN  # the response decides
            self._highest = token if stands == HIGHER else self._highest
            return ""
        sequence = record.get("sequence", 0)
        if self._highest is None or stands != SAME or sequence < self._next:
            return ""  # nobody opened it, somebody later did, or it was had already
        self.is_waiting = sequence > self._next  # a gap
        if self.is_waiting:
            return ""
        self._next += 1
        self.shown += record.get("text", "")
        return str(record.get("text", ""))

    def end(self, response: str) -> tuple[str, bool]:
        """Return the text that the response adds; or, with True, the text that takes the place of what was shown."""
        self.is_waiting = True
        is_replacing = not response.startswith(self.shown)
        added = response if is_replacing else response[len(self.shown) :]
        self.shown = response
        return added, is_replacing


def text_of(response: Mapping[str, Any]) -> str:
    """Return the text of a response."""
    return "\n\n".join(part.get("text") or part.get("code") or "" for part in response["parts"])


class StreamReader:
    """Follows one event from before it is written until its response, or until it is overdue."""

    def __init__(
        self,
        brokers: str,
        events: str = "conversations.events",
        audited: str = "conversations.audited",
        stream: str = "conversations.stream",
    ) -> None:
        from kafka import KafkaConsumer, KafkaProducer, TopicPartition

        self._events, self._audited, self._stream = events, audited, stream
        self._producer: Any = KafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=0)
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=brokers, isolation_level="read_committed", enable_auto_commit=False, group_id=None
        )
        places = [
            TopicPartition(topic, number)
            for topic in (audited, stream)
            for number in sorted(self._consumer.partitions_for_topic(topic))
        ]
        self._consumer.assign(places)
        self._consumer.seek_to_end(*places)
        for place in places:  # before the event is written, so that no `opened` is missed
            self._consumer.position(place)

    def ask(self, event: Mapping[str, Any], show: Callable[[str, bool], object], *, deadline_s: float = 60.0) -> bool:
        """Send an event, and call `show` with each text and whether it takes the place of everything before it.

        Return False if there is no response in time: send the same event again, under the same id.
        """
        headers = [("content-type", b"application/json"), ("sluicegate-schema", b"conversation-event/1")]
        value, key = json.dumps(event).encode(), event["conversation_id"].encode()
        self._producer.send(self._events, value=value, key=key, headers=headers).get(timeout=30)
        answers: dict[str, StreamedAnswer] = {}
        until_s = time.monotonic() + deadline_s + GRACE_S
        while time.monotonic() < until_s:
            for place, records in self._consumer.poll(timeout_ms=100).items():
                for record in records:
                    value = json.loads(record.value)
                    if value["event_id"] != event["event_id"]:
                        continue
                    answer = answers.setdefault(value["audit_id"], StreamedAnswer())
                    if place.topic == self._stream:
                        if text := answer.take(value):
                            show(text, False)
                    elif not value.get("duplicate_of"):  # a second copy's: the first answer stands
                        show(*answer.end(text_of(value)))
                        return True
        return False

    def close(self) -> None:
        """Close both clients."""
        self._consumer.close()
        self._producer.close()


def _print(text: str, is_replacing: bool) -> None:
    if is_replacing:
        print("\n--- the answer is another one ---")
    print(text, end="", flush=True)


if __name__ == "__main__":
    reader = StreamReader(sys.argv[1])
    asked = {
        "event_id": str(uuid.uuid4()),
        "conversation_id": str(uuid.uuid4()),
        "tenant_id": "my-tenant",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": sys.argv[2]}]}],
        "user": {"age_band": "adult", "age_verified": True, "locale": "en", "region": "GB"},
        "stream": True,
    }
    if not reader.ask(asked, _print):
        print("no answer in time: ask again with the same event id", file=sys.stderr)
    print()
    reader.close()
