"""The time limit of the service that runs in a task, so that whoever makes it wait can stop the count."""

from contextvars import ContextVar
from typing import Protocol


class ServiceLimit(Protocol):
    """A limit on the time that something is served. Time in a queue belongs to the event's deadline instead."""

    def pause(self) -> None:
        """Stop counting until `resume` has been called as often."""
        ...

    def resume(self) -> None:
        """Go on counting where it stopped."""
        ...


SERVICE_LIMIT: ContextVar[ServiceLimit | None] = ContextVar("sluicegate_service_limit", default=None)
"""The limit of the innermost service of this task; None if it has none."""
