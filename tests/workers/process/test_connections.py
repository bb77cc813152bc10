"""Connections of a port are bounded on every event loop that a process may run."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from workers.process.connections import ConnectionBounds, Connections

BOUNDS = ConnectionBounds(total_max=2, per_peer_max=2, request_timeout_s=5, answer_timeout_s=5)


class Echo(asyncio.Protocol):
    """Answers with what it is told."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # pyright: ignore[reportAttributeAccessIssue] - every transport of a socket has it


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_is_served_on_every_event_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def session() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connections(Echo, BOUNDS), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"ping")
        answer = await asyncio.wait_for(reader.readexactly(4), 5)
        writer.close()
        server.close()
        return answer

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(session()) == b"ping"
