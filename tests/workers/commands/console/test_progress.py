"""Times and positions as people type them; work that is held to a rate and says how far it came."""

import os
import signal
from datetime import UTC, datetime

import pytest

from workers.commands.console.progress import Pace, Progress, stopped_by_signals
from workers.commands.console.times import moment, shown, time_ms

NOW_MS = 1_772_366_400_000
NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW_MS - 90_000),
        ("2h", NOW_MS - 7_200_000),
        ("1w", NOW_MS - 604_800_000),
        ("2026-03-01T12:00Z", NOON_MS),
        ("2026-03-01T12:00", NOON_MS),
        ("2026-03-01T14:00+02:00", NOON_MS),
        ("0:17", {0: 17}),
        ("0:17,12:0", {0: 17, 12: 0}),
    ],
)
def test_a_moment_is_a_time_or_positions(text: str, expected: int | dict[int, int]) -> None:
    assert moment(text, NOW_MS) == expected


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-2h", "2y", "0:1,", "0:1,0:2", "0:-1", "1960-01-01", "0:1,2h", "9" * 30]
)
def test_what_is_neither_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is n(ot|either)"):
        moment(text, NOW_MS)


def test_a_time_is_no_position() -> None:
    with pytest.raises(ValueError, match="is not an ISO 8601 time"):
        time_ms("0:17", NOW_MS)


def test_times_show_in_utc() -> None:
    assert (shown(NOON_MS), shown(2**63)) == ("2026-03-01T12:00:00Z", "-")


class Watch:
    """A clock that moves only when told to, and by waiting."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_rate_holds_on_average() -> None:
    watch = Watch()
    pace = Pace(20.0, watch.wait, monotonic_s=lambda: watch.now_s)
    assert pace.pieces_max(200) == 20
    for _ in range(5):
        pace.after(20)
    assert watch.now_s == pytest.approx(5.0)
    watch.now_s = 60.0
    pace.after(20)
    assert watch.now_s == 60.0


def test_without_a_rate_nothing_waits() -> None:
    watch = Watch()
    pace = Pace(None, watch.wait, monotonic_s=lambda: watch.now_s)
    pace.after(1_000)
    assert (pace.pieces_max(200), watch.now_s) == (200, 0.0)


def test_progress_is_said_after_two_seconds_and_every_two() -> None:
    watch = Watch()
    said: list[str] = []
    progress = Progress(said.append, "done", monotonic_s=lambda: watch.now_s)
    for count in range(1, 11):
        watch.wait(0.5)
        progress.at(count, 10)
    assert said == ["done: 4 of 10", "done: 8 of 10"]


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    with stopped_by_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
