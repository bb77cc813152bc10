"""Requests under way: each waits for the response to its own record, and several may wait for one.

    sent ─► acknowledged (partition, offset) ─► the response whose audit id is that record's
         └► acknowledgement unknown          ─► the response with the same event, conversation and tenant

All calls are on one loop.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from topology.contract.events import Position
from topology.steps.audit import audit_id
from workers.door.index import Event
from workers.door.reasons import Answered

EARLY_MAX: Final = 8
"""Responses to one event that are kept until its record is acknowledged. More come only where others use its id."""


class Placed(NamedTuple):
    """A response that was read, where it stands, and the digest of the request it answers; empty if it has none."""

    answered: Answered
    digest: str
    partition: int
    offset: int
    appended_ms: int

    @property
    def event(self) -> Event:
        """Return tenant and event id."""
        return self.answered.tenant_id, self.answered.event_id


class Flight:
    """One record on its way. `settled` gets its response, or the error that kept it from being sent."""

    def __init__(self, event: Event, conversation_id: str, digest: str, until_s: float) -> None:
        self.event = event
        self.conversation_id = conversation_id
        self.digest = digest
        self.until_s = until_s
        self.settled: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self.settled.add_done_callback(_seen)
        self.position: Position | None = None
        """Where its record stands; None until that is known, or if nobody will say."""
        self._to_be_told: list[Callable[[str], None]] = []
        self.joined_count = 0
        """How many have ever waited for it."""
        self._waiting_count = 0
        self._is_unknown = False
        self._early: list[Placed] = []

    def join(self) -> None:
        """Note that one more waits."""
        self.joined_count += 1
        self._waiting_count += 1

    def leave(self) -> bool:
        """Note that one waits no longer; return whether that leaves a record on its way without anybody."""
        self._waiting_count -= 1
        return not self._waiting_count and not self.settled.done()

    def acknowledge(self, position: Position) -> None:
        """Note where the record stands."""
        self.position = position
        told, self._to_be_told = self._to_be_told, []
        for tell in told:
            tell(audit_id(position, self.event[1]))
        self._look_back()

    def when_placed(self, tell: Callable[[str], None]) -> None:
        """Have the audit id of the answer told once it is known where the record stands."""
        if self.position is None:
            self._to_be_told.append(tell)
        else:
            tell(audit_id(self.position, self.event[1]))

    def tell_no_more(self, tell: Callable[[str], None]) -> None:
        """Take `when_placed` back."""
        if tell in self._to_be_told:
            self._to_be_told.remove(tell)

    def lose(self) -> None:
        """Note that nobody will say whether and where the record stands."""
        self._is_unknown = True
        self._look_back()

    def fail(self, error: Exception) -> None:
        """Note that the record was not sent."""
        if not self.settled.done():
            self.settled.set_exception(error)

    def offer(self, placed: Placed) -> None:
        """Take a response to this event if it is the one to this record."""
        if self.settled.done():
            return
        if self.position is None and not self._is_unknown:
            if len(self._early) < EARLY_MAX:
                self._early.append(placed)
        elif self._is_own(placed.answered):
            self.settled.set_result(placed)

    def _look_back(self) -> None:
        early, self._early = self._early, []
        for placed in early:
            self.offer(placed)

    def _is_own(self, answered: Answered) -> bool:
        if self.position is None:
            return answered.conversation_id == self.conversation_id
        return answered.audit_id == audit_id(self.position, answered.event_id)


def _seen(settled: "asyncio.Future[Placed]") -> None:
    """Look at an error that nobody waited for, so that the loop does not report it."""
    if not settled.cancelled():
        settled.exception()
