"""A proxy that knows Kafka's frames: it keeps one request back, cuts its client off, and delivers the request later.

The client sees a connection that was reset, and sends the request again on another one. The broker sees a connection on
which nothing happens for a while, as behind a stalled router: client and broker are the real ones, unchanged.
"""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, Protocol

from kafka.protocol.consumer import OffsetCommitRequest, OffsetCommitResponse
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)

from tests.plugins.patience import PATIENCE_S

HOST = "127.0.0.1"

ANSWERS: dict[Any, Any] = {
    AddOffsetsToTxnRequest: AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest: AddPartitionsToTxnResponse,
    EndTxnRequest: EndTxnResponse,
    InitProducerIdRequest: InitProducerIdResponse,
    OffsetCommitRequest: OffsetCommitResponse,
    ProduceRequest: ProduceResponse,
    TxnOffsetCommitRequest: TxnOffsetCommitResponse,
}
"""Requests that can be kept back, and their answers."""


class Keeper(Protocol):
    """Takes a request over that does not go to the broker as it came."""

    def keep(self, frame: bytes, broker: socket.socket) -> None:
        """Take over the request and the connection that it belongs to."""
        ...


class KeptRequest:
    """A request that has left its client and has not reached the broker."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self._is_kept = threading.Event()
        self._frame = b""
        self._broker: socket.socket | None = None

    @property
    def is_kept(self) -> bool:
        """Return whether the request has come by."""
        return self._is_kept.is_set()

    def keep(self, frame: bytes, broker: socket.socket) -> None:
        """Take over the request and the connection that it belongs to."""
        self._frame, self._broker = frame, broker
        self._is_kept.set()

    def deliver(self) -> set[int]:
        """Let the request reach the broker on its own connection; return the broker's error codes, 0 for success."""
        assert self._is_kept.wait(PATIENCE_S), f"no {self.kind.__name__} came by"
        assert self._broker is not None
        self._broker.settimeout(PATIENCE_S)
        self._broker.sendall(self._frame)
        version, correlation = struct.unpack(">hi", self._frame[6:12])
        while struct.unpack(">i", (answer := _read_frame(self._broker))[4:8])[0] != correlation:
            pass  # an answer to an earlier request, which nobody waits for
        return set(_error_codes(ANSWERS[self.kind].decode(answer[4:], version=version, header=True).to_dict()))


class FrameProxy:
    """A proxy on a free port of loopback. `target` is where the broker listens, `host:port`."""

    def __init__(self) -> None:
        self.target = ""
        self._awaited: list[KeptRequest] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server((HOST, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Return where clients connect, `host:port`."""
        return f"{HOST}:{self._server.getsockname()[1]}"

    def keep_next(self, kind: Any) -> KeptRequest:
        """Keep the next request of that class back, and cut its client off."""
        kept = KeptRequest(kind)
        with self._lock:
            self._awaited.append(kept)
        return kept

    def close(self) -> None:
        """Cut every connection."""
        for each in (self._server, *self._sockets):
            _cut(each)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                with self._lock:
                    self._sockets = [each for each in self._sockets if each.fileno() >= 0]
                    self._sockets.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self.target.partition(":")
        with suppress(OSError, ValueError), closing(client):  # ValueError: closed by another thread
            broker = socket.create_connection((host, int(port)))
            with self._lock:
                self._sockets.append(broker)
            try:
                self._pass_on(client, broker)
            except OSError:
                _cut(broker)

    def _pass_on(self, client: socket.socket, broker: socket.socket) -> None:
        """Pass bytes on until a request is kept. Raises OSError once the connection ends on either side."""
        while True:
            ready, _, _ = select.select([client, broker], [], [])
            if broker in ready:
                client.sendall(_received(broker, 1 << 16))
            if client in ready:
                frame = _read_frame(client)
                if kept := self._take(frame):
                    _cut(client)
                    return kept.keep(frame, broker)
                broker.sendall(frame)

    def _take(self, frame: bytes) -> Keeper | None:
        """Return who takes the request over; None lets it pass."""
        key = struct.unpack(">h", frame[4:6])[0]
        with self._lock:
            for kept in self._awaited:
                if key == kept.kind.API_KEY:
                    self._awaited.remove(kept)
                    return kept
        return None


def _read_frame(connection: socket.socket) -> bytes:
    """Return one frame with its length. Raises OSError at the end of the connection."""
    length = _read(connection, 4)
    return length + _read(connection, struct.unpack(">i", length)[0])


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += _received(connection, count - len(found))
    return found


def _received(connection: socket.socket, count_max: int) -> bytes:
    found = connection.recv(count_max)
    if not found:
        raise ConnectionResetError
    return found


def _error_codes(answer: object) -> Iterator[int]:
    """Yield every error code of an answer, wherever it is."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name.endswith("error_code"):
                yield value
            yield from _error_codes(value)
    elif isinstance(answer, list | tuple):
        for value in answer:
            yield from _error_codes(value)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
