"""A circuit breaker: it stops calls to a backend that keeps failing or asks for rest, and probes it with one call.

    closed ── `failures_max` failures in a row ──► open ── `open_s` later ──► half-open
       │ ▲                                          ▲ ▲     or the rest           │
       │ └─── the one probe succeeded ──────────────┼─┼── the one probe failed ───┘
       └───── the backend asked for rest ───────────┘ └── or asked for rest again

After the probe two calls may run at once, and one more for each that succeeds, up to `calls_max`: those that waited
would bring a backend down again that has just come up. If it says that it is busy, half as many.

Plain and synchronous; time comes in as a function. Not safe across threads.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NewType

Ticket = NewType("Ticket", int)
"""The period in which a call was let through; reports from an earlier period are ignored."""


RETURNING_CALLS = 2
"""Calls at once after the probe succeeded."""


class BreakerState(StrEnum):
    """The state of a breaker, as metrics spell it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The breaker of one backend that takes `calls_max` calls at once. `now_s` is a monotonic clock in seconds.

    `rest_max_s` bounds how long the backend is left alone at its own request.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        open_s: float,
        now_s: Callable[[], float],
        rest_max_s: float = 60.0,
        calls_max: int = 64,
    ) -> None:
        self._failures_max = failures_max
        self._failed_for_s = open_s
        self._rest_max_s = rest_max_s
        self._calls_max = calls_max
        self._now_s = now_s
        self._failures = 0
        self._period = 0
        self._running_count = 0
        """Calls of this period."""
        self._allowed_count = calls_max
        self._opened_at_s: float | None = None
        self._open_for_s = 0.0
        self._is_asked = False

    @property
    def state(self) -> BreakerState:
        """Return the state that a call made now would meet."""
        if self._opened_at_s is None:
            return BreakerState.CLOSED
        is_over = self._now_s() - self._opened_at_s >= self._open_for_s
        return BreakerState.HALF_OPEN if is_over else BreakerState.OPEN

    @property
    def rest_left_s(self) -> float:
        """Return how much longer the backend is left alone because it asked for it; 0 if it did not ask."""
        if self._opened_at_s is None or not self._is_asked:
            return 0.0
        return max(0.0, self._opened_at_s + self._open_for_s - self._now_s())

    def admit(self) -> Ticket | None:
        """Return a ticket for one call, which must be reported exactly once; None if the call must not be made."""
        state = self.state
        allowed_count = 1 if state is BreakerState.HALF_OPEN else self._allowed_count
        if state is BreakerState.OPEN or self._running_count >= allowed_count:
            return None
        self._running_count += 1
        return Ticket(self._period)

    def report_success(self, ticket: Ticket) -> None:
        """Report that the backend answered, if only to say that the request is wrong."""
        if not self._has_ended(ticket):
            return
        self._failures = 0
        if self._opened_at_s is not None:
            self._close(RETURNING_CALLS)
        elif self._allowed_count < self._calls_max:
            self._allowed_count += 1

    def report_busy(self, ticket: Ticket, rest_s: float) -> None:
        """Report that the backend is busy; `rest_s` is how long it asked to be left alone, or 0."""
        if not self._has_ended(ticket):
            return
        self._failures = 0
        if rest_s > 0:
            self._open(min(rest_s, self._rest_max_s), is_asked=True)
        elif self._opened_at_s is not None:
            self._close(1)
        elif self._allowed_count < self._calls_max:
            self._allowed_count = max(1, self._allowed_count // 2)

    def report_failure(self, ticket: Ticket) -> None:
        """Report that the backend was unreachable, broke down, or did not answer in its full time."""
        if not self._has_ended(ticket):
            return
        self._failures += 1
        if self._opened_at_s is not None or self._failures >= self._failures_max:
            self._open(self._failed_for_s, is_asked=False)

    def report_nothing(self, ticket: Ticket) -> None:
        """Report a call that the caller ended (cancelled, deadline): it says nothing about the backend."""
        self._has_ended(ticket)

    def _has_ended(self, ticket: Ticket) -> bool:
        """Count a call as ended; return whether it belongs to this period and its report counts."""
        if ticket != self._period:
            return False
        self._running_count -= 1
        return True

    def _open(self, open_for_s: float, *, is_asked: bool) -> None:
        self._begin_period(opened_at_s=self._now_s())
        self._open_for_s = open_for_s
        self._is_asked = is_asked

    def _close(self, allowed_count: int) -> None:
        self._begin_period(opened_at_s=None)
        self._allowed_count = min(allowed_count, self._calls_max)

    def _begin_period(self, *, opened_at_s: float | None) -> None:
        self._period += 1
        self._failures = 0
        self._running_count = 0
        self._opened_at_s = opened_at_s
