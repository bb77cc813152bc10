"""kafka-python's consumer, mended where it makes a group rebalance again and again (K15, docs/kafka.md)."""

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
