"""kafka-python's connections, mended where they miss what a broker says before it hangs up (K16, docs/kafka.md)."""

from typing import Any


def hear_last_words(client: Any) -> None:
    """Have every connection that `client` opens from now on hand over what came together with its end.

    The library reads a socket until nothing is left, and where that was its end, throws away what it read. A broker
    that refuses a login says so and hangs up at once: on a busy machine both are read together, and the refusal looks
    like a network that is down.
    """
    manager = client._manager  # noqa: SLF001 - the library has no seam for it
    build = manager._build_transport  # noqa: SLF001 - as above

    async def build_and_listen(node: object, timeout_at: float | None = None) -> Any:
        transport = await build(node, timeout_at=timeout_at)
        receive = transport._sock_recv  # noqa: SLF001 - as above

        def receive_first() -> tuple[bytes, Exception | None]:
            received, error = receive()
            return received, None if received else error  # the end is found again by the next read

        transport._sock_recv = receive_first  # noqa: SLF001 - as above
        return transport

    manager._build_transport = build_and_listen  # noqa: SLF001 - as above
