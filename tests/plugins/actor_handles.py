"""Handles of actors that live in the test's own process: what is called on them is awaited, without Ray."""

from collections.abc import Awaitable, Callable


class RemoteMethod:
    """A method of a handle: `remote` calls `answer` and counts."""

    def __init__(self, answer: Callable[..., Awaitable[object]]) -> None:
        self._answer = answer
        self.call_count = 0

    def remote(self, *given: object) -> Awaitable[object]:
        self.call_count += 1
        return self._answer(*given)


class ActorHandle:
    """A handle of a stage actor, with the two methods that a runner calls."""

    def __init__(self, run: Callable[..., Awaitable[object]], health: Callable[[], Awaitable[object]]) -> None:
        self.run = RemoteMethod(run)
        self.health = RemoteMethod(health)
