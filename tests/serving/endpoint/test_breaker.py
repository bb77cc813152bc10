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


def run_at_once(breaker: Breaker) -> list[Ticket]:
    tickets = list[Ticket]()
    while (ticket := breaker.admit()) is not None:
        tickets.append(ticket)
    return tickets


def test_a_backend_that_asks_for_rest_is_left_alone_for_as_long_and_then_probed_once(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.report_busy(admitted(breaker), 20.0)
    assert breaker.state is BreakerState.OPEN
    clock.advance(19.0)
    assert breaker.admit() is None
    assert breaker.rest_left_s == pytest.approx(1.0)
    clock.advance(1.0)
    assert breaker.rest_left_s == 0
    (probe,) = run_at_once(breaker)
    breaker.report_busy(probe, 10.0)
    assert breaker.rest_left_s == pytest.approx(10.0)


def test_no_backend_rests_longer_than_the_bound(clock: ManualClock) -> None:
    breaker = Breaker(failures_max=3, open_s=5.0, rest_max_s=30.0, now_s=clock.monotonic_s)
    breaker.report_busy(admitted(breaker), 86_400.0)
    clock.advance(30.0)
    admitted(breaker)


def test_an_open_circuit_without_a_request_for_rest_has_no_rest_left(breaker: Breaker) -> None:
    fail(breaker, 3)
    assert breaker.rest_left_s == 0


@pytest.mark.parametrize("is_asked", [True, False])
def test_after_the_probe_calls_come_back_slowly(is_asked: bool, clock: ManualClock) -> None:
    breaker = Breaker(failures_max=3, open_s=5.0, calls_max=6, now_s=clock.monotonic_s)
    if is_asked:
        breaker.report_busy(admitted(breaker), 5.0)
    else:
        fail(breaker, 3)
    clock.advance(5.0)
    breaker.report_success(admitted(breaker))
    most = list[int]()
    for _ in range(4):
        tickets = run_at_once(breaker)
        most.append(len(tickets))
        for ticket in tickets:
            breaker.report_success(ticket)
    assert most == [2, 4, 6, 6]


def test_a_backend_that_is_busy_when_it_comes_back_gets_half_of_it(clock: ManualClock) -> None:
    breaker = Breaker(failures_max=3, open_s=5.0, calls_max=8, now_s=clock.monotonic_s)
    breaker.report_busy(admitted(breaker), 5.0)
    clock.advance(5.0)
    breaker.report_busy(admitted(breaker), 0)
    assert breaker.state is BreakerState.CLOSED
    (only,) = run_at_once(breaker)
    breaker.report_success(only)
    first, second = run_at_once(breaker)
    breaker.report_busy(first, 0)
    breaker.report_nothing(second)
    assert len(run_at_once(breaker)) == 1


def test_a_backend_that_is_busy_in_full_operation_is_not_slowed_down(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.report_busy(admitted(breaker), 0)
    assert breaker.state is BreakerState.CLOSED
    assert len(run_at_once(breaker)) == 64
