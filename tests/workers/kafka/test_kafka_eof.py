"""K16: kafka-python drops what a broker says before it hangs up; ours hears it."""

import socket
import time
from typing import Any

from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport

from tests.plugins.patience import PATIENCE_S
from workers.kafka.library_fixes import deliver_bytes_before_eof

WORDS = b"the login was refused"


class Listener:
    """Stands where the library has its connection."""

    _sensors = None

    def __init__(self) -> None:
        self.heard = b""
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, _error: object) -> None:
        self.is_lost = True


class Library:
    """As much of a client as opens one connection: to a peer that has spoken and is gone."""

    def __init__(self) -> None:
        self._manager = self
        self.net: Any = NetworkSelector()

    async def _build_transport(self, _node: object, timeout_at: float | None = None) -> Any:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.sendall(WORDS)
        theirs.close()
        return KafkaTCPTransport(self.net, ours)


def _heard(library: Any) -> bytes:
    listener, net = Listener(), library.net
    transport = net.run(library._build_transport, None)
    transport.set_protocol(listener)
    transport.resume_reading()
    deadline_s = time.monotonic() + PATIENCE_S
    while not listener.is_lost:
        assert time.monotonic() < deadline_s, "the connection does not end"
        net.poll(timeout_ms=50)
    return listener.heard


def test_the_library_does_not_hear_what_came_with_the_end_of_a_connection() -> None:
    assert _heard(Library()) == b""


def test_ours_hears_what_came_with_the_end_of_a_connection() -> None:
    library = Library()
    deliver_bytes_before_eof(library)
    assert _heard(library) == WORDS
