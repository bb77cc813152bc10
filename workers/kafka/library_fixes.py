"""kafka-python's classes, fixed where no option of theirs helps: joins (K15) and connections (K16), docs/kafka.md."""

from typing import Any

from kafka import KafkaConsumer


class GroupConsumer(KafkaConsumer):
    """A KafkaConsumer that keeps a join which was answered between two polls.

    The library joins on a thread of its own while a poll waits for it. What is answered while none waits, it throws
    away, and joins again: everybody in the group has to, and the more members there are, the likelier one of them
    misses its answer again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _keep_answered_joins(self._coordinator)  # pyright: ignore[reportAttributeAccessIssue] - not in the stubs


def _keep_answered_joins(coordinator: Any) -> None:
    """Have the next poll take over the join that was answered since the last one."""
    join = coordinator.join_group_async

    async def join_or_take_over(timeout_ms: float | None = None) -> bool:
        answered = coordinator._join_task  # noqa: SLF001 - the library has no seam for it
        if answered is not None and answered.is_done and answered.succeeded():
            # As a task that is still to run: only that is waited for, and on this thread it cannot run before.
            coordinator._join_task = coordinator._manager.call_soon(lambda: answered.value)  # noqa: SLF001 - as above
        return await join(timeout_ms)

    coordinator.join_group_async = join_or_take_over


def deliver_bytes_before_eof(client: Any) -> None:
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
