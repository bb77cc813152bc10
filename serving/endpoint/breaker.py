"""A circuit breaker: it stops calls to a backend that keeps failing, and probes it with one call at a time.

    closed ── `failures_max` failures in a row ──► open ── `open_s` later ──► half-open
       ▲                                             ▲                            │
       └────────── the one probe succeeded ──────────┼──── the one probe failed ──┘

Plain and synchronous; time comes in as a function. Not safe across threads.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NewType

Ticket = NewType("Ticket", int)
"""The period in which a call was let through; reports from an earlier period are ignored."""


class BreakerState(StrEnum):
    """The state of a breaker, as metrics spell it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The breaker of one backend. `now_s` is a monotonic clock in seconds."""

    def __init__(self, *, failures_max: int, open_s: float, now_s: Callable[[], float]) -> None:
        self._failures_max = failures_max
        self._open_s = open_s
        self._now_s = now_s
        self._failures = 0
        self._opened_at_s: float | None = None
        self._period = 0
        self._is_probing = False

    @property
    def state(self) -> BreakerState:
        """Return the state that a call made now would meet."""
        if self._opened_at_s is None:
            return BreakerState.CLOSED
        is_over = self._now_s() - self._opened_at_s >= self._open_s
        return BreakerState.HALF_OPEN if is_over else BreakerState.OPEN

    def admit(self) -> Ticket | None:
        """Return a ticket for one call, which must be reported exactly once; None if the call must not be made."""
        state = self.state
        if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and self._is_probing):
            return None
        self._is_probing = state is BreakerState.HALF_OPEN
        return Ticket(self._period)

    def report_success(self, ticket: Ticket) -> None:
        """Report that the backend answered, if only to say that it is busy or that the request is wrong."""
        if ticket != self._period:
            return
        self._failures = 0
        if self._opened_at_s is not None:
            self._begin_period(opened_at_s=None)

    def report_failure(self, ticket: Ticket) -> None:
        """Report that the backend was unreachable, broke down, or did not answer in its full time."""
        if ticket != self._period:
            return
        self._failures += 1
        if self._opened_at_s is not None or self._failures >= self._failures_max:
            self._begin_period(opened_at_s=self._now_s())

    def report_nothing(self, ticket: Ticket) -> None:
        """Report a call that the caller ended (cancelled, deadline): it says nothing about the backend."""
        if ticket == self._period:
            self._is_probing = False

    def _begin_period(self, *, opened_at_s: float | None) -> None:
        self._period += 1
        self._failures = 0
        self._opened_at_s = opened_at_s
        self._is_probing = False
