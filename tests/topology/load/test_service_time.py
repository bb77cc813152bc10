"""Service is what a thread does: one without a processor is waited for, one that is blocked is not."""

import pytest

from topology.load.service_time import WALL_SHARE, Clocks, ServiceTime

LIMIT_S = 5.0
LOOK_S = 1.25


def looks(wall_s: float, thread_share: float, process_share: float) -> tuple[ServiceTime, Clocks, float]:
    """Look at a thread that uses these shares of a processor for so long, four times within a limit."""
    service = ServiceTime(Clocks(wall_s=100, thread_s=7, process_s=50))
    at_s, now, served_s = 0.0, service.began, 0.0
    while at_s < wall_s:
        at_s += LOOK_S
        now = Clocks(wall_s=100 + at_s, thread_s=7 + at_s * thread_share, process_s=50 + at_s * process_share)
        served_s = service.at(now)
    return service, now, served_s


@pytest.mark.parametrize(
    ("wall_s", "thread_share", "process_share", "served_s"),
    [
        (4, 1.0, 1.0, 5.0),
        (20, 0.05, 0.1, 20 * WALL_SHARE),
        (20, 0.0, 0.9, 20 * WALL_SHARE),
        (5, 0.0, 0.03, 5.0),
        (60, 0.01, 0.01, LIMIT_S),
    ],
    ids=["at work", "starving", "served by another thread", "blocked", "the last bound"],
)
def test_what_counts_as_service(wall_s: float, thread_share: float, process_share: float, served_s: float) -> None:
    assert looks(wall_s, thread_share, process_share)[2] == pytest.approx(served_s)


@pytest.mark.parametrize(
    ("wall_s", "thread_share", "is_hanging"),
    [(6, 1.0, False), (6, 0.0, True), (50, 0.02, False), (61, 0.02, True)],
    ids=["slow", "blocked", "starving", "for ever"],
)
def test_what_hangs(wall_s: float, thread_share: float, *, is_hanging: bool) -> None:
    service, now, _ = looks(wall_s, thread_share, thread_share)
    assert service.is_hanging(now, LIMIT_S) is is_hanging


def test_a_thread_that_works_again_is_no_longer_blocked() -> None:
    service = ServiceTime(Clocks(wall_s=0, thread_s=0, process_s=0))
    assert service.at(Clocks(wall_s=4, thread_s=0, process_s=0)) == 4
    assert service.at(Clocks(wall_s=4.5, thread_s=0.4, process_s=0.4)) == pytest.approx(0.4)
    assert service.at(Clocks(wall_s=6, thread_s=0.4, process_s=0.4)) == pytest.approx(1.5)
