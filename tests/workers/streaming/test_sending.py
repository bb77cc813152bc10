"""The producer of streams while its topic cannot be written."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from topology.contract.names import DraftSource
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from workers.settings import KafkaSettings
from workers.streaming import sending
from workers.streaming.sending import StreamSender

RECORD = StreamRecord(
    audit_id="a1",
    event_id="e1",
    conversation_id="c1",
    tenant_id="t1",
    token=StreamToken(generation=1, epoch=0, producer_id=7, run=1),
    kind=StreamKind.OPENED,
    sequence=0,
    text="",
    source=DraftSource.NONE,
    last=False,
)


class Acknowledged:
    """The future of a record that stands on its topic."""

    def add_callback(self, tell: Callable[[object], None]) -> None:
        tell(None)

    def add_errback(self, _tell: Callable[[object], None]) -> None:
        """It has not failed."""


class Library:
    """The client library's producer: `send_raw` waits for metadata until `go_on` is set, and raises `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.sent_count = 0

    def send_raw(self, *_args: Any, **_options: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(10)
        self.sent_count += 1
        if self.error is not None:
            raise self.error
        return Acknowledged()

    def close(self) -> None:
        self.go_on.set()


def sender_of(library: Library, monkeypatch: pytest.MonkeyPatch) -> StreamSender:
    def made(*_args: object, **_options: object) -> Library:
        return library

    monkeypatch.setattr(sending, "EventSender", made)
    return StreamSender(KafkaSettings(), "streams")


def test_what_nobody_waits_for_any_more_is_not_written_once_the_topic_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    sender = sender_of(library, monkeypatch)

    async def given_up() -> None:
        waiting = [asyncio.ensure_future(sender.send(0, RECORD)) for _ in range(20)]
        await asyncio.to_thread(library.begun.wait, 10)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        library.go_on.set()
        assert await asyncio.wait_for(sender.send(0, RECORD), 10)

    asyncio.run(given_up())
    assert library.sent_count == 2, "the one that had begun, and the last one"
    sender.close()


def test_a_partition_that_is_not_there_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(ValueError("Unrecognized partition"))
    library.go_on.set()
    sender = sender_of(library, monkeypatch)
    assert not asyncio.run(asyncio.wait_for(sender.send(9, RECORD), 5))
    sender.close()
