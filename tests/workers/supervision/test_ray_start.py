"""Ray is started again where a busy machine made it miss its own time limits, and says why where it gives up."""

import logging
import signal
import threading
from itertools import count

import pytest

from workers.supervision import ray_session
from workers.supervision.ray_session import START_S_MAX, START_TRIES_MAX, RayNotStarted, start_patiently, told_when_slow


class Starts:
    """Starts that fail the first `failures` times. Every one takes `seconds`."""

    def __init__(self, failures: int, seconds: float = 1.0) -> None:
        self._failures, self._seconds = failures, seconds
        self.tries = self.cleaned = 0

    def start(self) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise Exception("The current node timed out\nduring startup.")  # noqa: TRY002 -- as Ray does

    def clean_up(self) -> None:
        self.cleaned += 1

    def now_s(self) -> float:
        return self.tries * self._seconds


def test_a_start_that_fails_is_tried_again_and_each_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    starts = Starts(failures=START_TRIES_MAX - 1)
    with caplog.at_level(logging.WARNING, "sluicegate.ray"):
        start_patiently(starts.start, starts.clean_up, starts.now_s)
    assert (starts.tries, starts.cleaned) == (START_TRIES_MAX, START_TRIES_MAX - 1)
    for number, record in zip(count(2), caplog.records, strict=False):
        assert f"trying again ({number} of {START_TRIES_MAX})" in record.getMessage()
        assert "The current node timed out during startup." in record.getMessage()
        assert "raylet.err" in record.getMessage()


@pytest.mark.parametrize(("seconds", "tries"), [(1.0, START_TRIES_MAX), (START_S_MAX, 1)])
def test_after_the_last_try_or_too_long_it_gives_up_with_the_reason(seconds: float, tries: int) -> None:
    starts = Starts(failures=99, seconds=seconds)
    tried = "once" if tries == 1 else f"{tries} times"
    with pytest.raises(RayNotStarted, match=rf"timed out during startup.*raylet\.err; tried {tried}: start again"):
        start_patiently(starts.start, starts.clean_up, starts.now_s)
    assert starts.cleaned == starts.tries == tries


def test_a_start_that_takes_long_is_told_while_it_goes_on() -> None:
    told: list[str] = []
    is_told = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        is_told.set()

    with told_when_slow(tell, 0.0):
        assert is_told.wait(60)
    with told_when_slow(tell, 3600.0):
        pass
    assert len(told) == 1
    assert told[0].startswith("Ray is still starting after 0 s (load ")
    assert "raylet.err" in told[0]
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers if timer.interval == 3600.0)


def test_an_interrupt_while_ray_starts_is_answered_at_once_and_takes_effect_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    finished: list[str] = []

    def started() -> None:
        with ray_session._interrupts_deferred():  # pyright: ignore[reportPrivateUsage]
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            finished.append("Ray is up")

    with pytest.raises(KeyboardInterrupt):
        started()
    assert finished == ["Ray is up"]
    assert capfd.readouterr().err.count("stopping as soon as Ray is up") == 1
