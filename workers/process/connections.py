"""The connections of a port: how many may be open, and how long a request and its answer may take.

One connection carries one request. At a bound, the connection that has waited longest for the rest of its request makes
room, so that half-sent requests keep no probe out; if all are being answered, the new one is refused.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from msgspec import Struct

REQUEST_BYTES_MAX: Final = 16 * 1024
"""Bound on a whole request; those of probes are a few hundred bytes."""


class ConnectionBounds(Struct, frozen=True, kw_only=True):
    """The most connections in all and from one address; the times for a request to arrive and for its answer.

    `request_bytes_max` bounds a whole request, headers and body.
    """

    total_max: int
    per_peer_max: int
    request_timeout_s: float
    answer_timeout_s: float
    request_bytes_max: int = REQUEST_BYTES_MAX


class Connections:
    """The factory of a server's protocols, and all that are open. All calls are on the server's loop."""

    def __init__(self, inner: Callable[[], asyncio.Protocol], bounds: ConnectionBounds) -> None:
        self._inner = inner
        self.bounds = bounds
        self._open: dict[Connection, None] = {}

    def __call__(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self, self._inner())

    def admit(self, connection: "Connection") -> bool:
        """Return whether there is room for a connection, perhaps that of an older one, and count it."""
        for most, peer in ((self.bounds.per_peer_max, connection.peer), (self.bounds.total_max, None)):
            rivals = [each for each in self._open if peer in {None, each.peer}]
            if len(rivals) >= most:
                waiting = next((each for each in rivals if each.is_arriving), None)
                if waiting is None:
                    return False
                waiting.abort()
        self._open[connection] = None
        return True

    def remove(self, connection: "Connection") -> None:
        """Forget a connection; one that was removed before is ignored."""
        self._open.pop(connection, None)


class Connection(asyncio.Protocol):
    """One connection. `inner` is the protocol that speaks HTTP on it."""

    def __init__(self, all_open: Connections, inner: asyncio.Protocol) -> None:
        self._all_open = all_open
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received_bytes = 0
        self.peer = ""
        self.is_arriving = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, or refuse the connection."""
        transport = cast("asyncio.Transport", transport)  # uvloop's has all of its methods, and no such base class
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._all_open.admit(self):
            transport.abort()
            return
        self._transport = transport
        self._limit(self._all_open.bounds.request_timeout_s)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the request; what follows it is dropped."""
        if self._transport is None or not self.is_arriving:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self._all_open.bounds.request_bytes_max:
            self.abort()
        else:
            self._inner.data_received(data)

    def arrived(self) -> None:
        """Note that the request is complete; from now on its answer is awaited."""
        self.is_arriving = False
        self._limit(self._all_open.bounds.answer_timeout_s)

    def abort(self) -> None:
        """Close the connection at once."""
        self._all_open.remove(self)
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return None if self._transport is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all_open.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport = None
            self._inner.connection_lost(exc)

    def _limit(self, timeout_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.abort)
