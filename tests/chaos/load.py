"""A steady load: events of many conversations at a rate, sent by a thread of its own, through broker faults.

No record is ever sent twice by us: one whose acknowledgement fails may stand in the topic or not, and the census asks
the topic. Every event id is used once.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from kafka.errors import KafkaError
from msgspec.structs import replace

from topology.contract.events import ConversationEvent, Message, Role, TextPart
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings

TICK_S = 0.02
BURST_S = 1.0
"""What is late by more than this, after a broker was away, is left out rather than sent at once."""

DELIVERY_TIMEOUT_MS = 60_000
"""Longer than any broker fault, so that what is sent during one arrives after it."""

PAUSE_TIMEOUT_S = 90.0
BROKEN_VALUE = b'{"event_id": '
"""Cut off in the middle: a dead letter for being malformed."""

INVALID_VALUE = b'{"event_id": "%b", "conversation_id": "%b", "tenant_id": "chaos", "messages": []}'
"""Names its ids but has no message: a dead letter, and an answer `rejected`."""

MakeEvent = Callable[[str, str], ConversationEvent]
"""An event from its id and its conversation's."""


def plain_event(event_id: str, conversation_id: str) -> ConversationEvent:
    """A short question."""
    question = Message(role=Role.USER, parts=(TextPart(text="How does a canal lock lift a boat?"),))
    return ConversationEvent(
        event_id=event_id, conversation_id=conversation_id, tenant_id="chaos", messages=(question,)
    )


class Load:
    """`rate_s` events a second over `keys` conversations; each `broken_every`-th is no valid event, 0: none. Every
    other one of those names its ids.

    Event ids are `<name>-<number>`, so `name` must differ between runs on one topic.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        name: str,
        rate_s: float,
        keys: int = 300,
        seed: int = 0,
        broken_every: int = 0,
        make_event: MakeEvent = plain_event,
    ) -> None:
        self._kafka = replace(kafka, delivery_timeout_ms=DELIVERY_TIMEOUT_MS)
        self._topic = topic
        self._name = name
        self._keys = keys
        self._random = random.Random(f"{seed}-{name}")
        self._broken_every = broken_every
        self._make_event = make_event
        self._sender = EventSender(self._kafka, topic)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._paused = threading.Event()
        self._resting = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="load", daemon=True)
        self.rate_s = rate_s
        """May be changed at any time."""
        self.sent_count = 0
        self.acknowledged_count = 0
        self.failed_count = 0
        """Not acknowledged: in the topic or not."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def pause(self) -> bool:
        """Send nothing more until `resume`; False where what was sent is not acknowledged in time."""
        self._resting.clear()
        self._paused.set()
        return self._resting.wait(PAUSE_TIMEOUT_S) or not self._thread.is_alive()

    def resume(self) -> None:
        """Go on, with what a new look at the topic's partitions says."""
        self._paused.clear()

    def stop(self) -> None:
        """Send nothing more; returns once everything is acknowledged or has failed."""
        self._ended.set()
        self._thread.join(PAUSE_TIMEOUT_S)
        self._sender.close()

    def _serve(self) -> None:
        due = 0.0
        last_s = time.monotonic()
        while not self._ended.wait(TICK_S):
            now_s = time.monotonic()
            due += min(now_s - last_s, BURST_S) * self.rate_s
            last_s = now_s
            if self._paused.is_set():
                self._rest()
                due = 0.0
                continue
            while due >= 1 and not self._ended.is_set():
                due -= 1
                self._send_one()

    def _rest(self) -> None:
        """Have everything acknowledged, then wait."""
        if not self._resting.is_set():
            try:
                self._sender.flush()
            except KafkaError:
                return  # the next tick tries again
            self._resting.set()

    def _send_one(self) -> None:
        number = self.sent_count
        self.sent_count += 1
        key = f"c{self._random.randrange(self._keys):04d}"
        try:
            event_id = f"{self._name}-{number:07d}"
            if self._broken_every and number % self._broken_every == self._broken_every - 1:
                is_named = number // self._broken_every % 2
                value = INVALID_VALUE % (event_id.encode(), key.encode()) if is_named else BROKEN_VALUE
                future = self._sender.send_raw(key.encode(), value)
            else:
                future = self._sender.send_event(self._make_event(event_id, key))
        except KafkaError as exc:
            self._failed(exc)
            self._renew()
            return
        future.add_callback(self._acknowledged)
        future.add_errback(self._failed)

    def _acknowledged(self, _metadata: object) -> None:
        with self._lock:
            self.acknowledged_count += 1

    def _failed(self, _error: object) -> None:
        with self._lock:
            self.failed_count += 1

    def _renew(self) -> None:
        """A producer that has failed for good fails every record: have another one."""
        with suppress(KafkaError):  # its records have failed, each on its own
            self._sender.close()
        try:
            self._sender = EventSender(self._kafka, self._topic)
        except KafkaUnavailable:
            self._ended.set()
