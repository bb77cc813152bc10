"""The circuit breaker, on a clock of its own."""

import pytest

from serving.endpoint.breaker import Breaker, BreakerState, Ticket
from serving.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(failures_max=3, open_s=5.0, now_s=clock.monotonic_s)


def admitted(breaker: Breaker) -> Ticket:
    ticket = breaker.admit()
    assert ticket is not None
    return ticket


def fail(breaker: Breaker, count: int) -> None:
    for _ in range(count):
        breaker.report_failure(admitted(breaker))


def test_failures_in_a_row_open_it_and_nothing_is_let_through(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() is None


def test_a_success_in_between_starts_the_count_again(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.report_success(admitted(breaker))
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_after_its_time_one_probe_is_let_through_and_a_success_closes_it(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(5.0)
    probe = admitted(breaker)
    assert breaker.admit() is None
    breaker.report_success(probe)
    assert breaker.state is BreakerState.CLOSED
    admitted(breaker)


def test_a_failed_probe_opens_it_for_its_whole_time_again(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(5.0)
    breaker.report_failure(admitted(breaker))
    clock.advance(4.9)
    assert breaker.admit() is None
    clock.advance(0.2)
    admitted(breaker)


def test_a_probe_that_says_nothing_makes_room_for_the_next(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(5.0)
    breaker.report_nothing(admitted(breaker))
    assert breaker.state is BreakerState.HALF_OPEN
    admitted(breaker)


def test_calls_that_began_before_it_opened_change_nothing_when_they_end(breaker: Breaker, clock: ManualClock) -> None:
    early, late = admitted(breaker), admitted(breaker)
    fail(breaker, 3)
    breaker.report_success(early)
    breaker.report_failure(late)
    assert breaker.state is BreakerState.OPEN
    clock.advance(5.0)
    assert breaker.state is BreakerState.HALF_OPEN
