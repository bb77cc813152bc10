"""What a worker holds follows how long events wait in it for their turn, and what their receipt says of the time."""

import threading

import pytest

from serving.fakes import ManualClock
from tests.plugins.memory_loop import WAIT_S, Desk, World, running
from tests.plugins.patience import wait_until
from topology.contract.records import Receipt
from topology.delivery.tracker import Tracker
from topology.load.record_clock import RecordClock
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.development.memory_broker import FAKE_TIME_MS, POLL_RECORDS_MAX
from workers.settings import LimitSettings
from workers.stream.loop import HELD_PER_RUNNING, intake_limiter, tracker_limits
from workers.stream.polling import Poller

AHEAD_MS = 50 * 60_000
LIMITS = LimitSettings(in_flight_max=2, wait_slow_s=10)


def test_events_that_wait_too_long_lower_what_is_held_down_to_what_keeps_all_permits_in_use() -> None:
    intake = intake_limiter(LIMITS)
    least = HELD_PER_RUNNING * LIMITS.in_flight_max
    assert intake.limit == least
    for number in range(5_000):
        intake.ended(number, number + 0.5, intake.limit)
    assert intake.limit == LIMITS.queue_events_max
    for number in range(5_000, 10_000, 20):
        intake.ended(number, number + LIMITS.wait_slow_s + 1, intake.limit)
    assert intake.limit == least


def test_a_worker_that_cannot_keep_up_pauses_long_before_it_is_full_and_answers_everything() -> None:
    world = World(partitions=1)
    places = [(0, offset) for offset in range(3 * POLL_RECORDS_MAX)]
    world.send(0, len(places))
    desk = Desk(*places)
    loop = world.loop(desk.process, limits=LIMITS)
    with running(loop):
        wait_until(lambda: loop.health().paused, WAIT_S)
        assert loop.health().held_count <= POLL_RECORDS_MAX < LIMITS.queue_events_max
        desk.release(*places)
        world.wait_answered(len(places))


class Reading:
    """A poll thread's side of a worker, on a clock that is fifty minutes ahead, turned by hand."""

    def __init__(self) -> None:
        self.world, self.metrics = World(partitions=1), Instruments.none()
        self.clock = ManualClock(start_ms=FAKE_TIME_MS + AHEAD_MS)
        self._tracker = Tracker(tracker_limits(LIMITS))
        self._poller = Poller(
            self.world.source,
            self._tracker,
            threading.Lock(),
            clock=self.clock,
            metrics=self.metrics,
            on_work=lambda: None,
            on_dead=lambda: None,
            settle=lambda: None,
            intake=intake_limiter(LIMITS),
            awaiting=lambda: 0,
            record_clock=RecordClock(30),
        )

    def look(self) -> None:
        """Turn until the gauges have been shown, some seconds after the last time."""
        for _ in range(5):
            self.clock.advance(2)
            self._poller.turn()

    def receipt(self) -> Receipt | None:
        """Return the receipt of a record that is sent now."""
        self.world.send(0, 1)
        self._poller.turn()
        return self.started()

    def started(self) -> Receipt | None:
        """Return the receipt of the record whose turn it is."""
        (item,) = self._tracker.next_to_start(1)
        return item.record.receipt


def test_a_fresh_record_is_read_when_its_own_time_says_and_a_clock_that_disagrees_is_shown() -> None:
    reading = Reading()
    for _ in range(3):
        reading.look()
        assert reading.receipt() == Receipt(reading.clock.monotonic_s(), FAKE_TIME_MS)
    reading.look()
    assert reading.metrics.value(Metric.CLOCK_SKEW) == pytest.approx(AHEAD_MS / 1000, abs=60)


def test_a_record_that_may_have_waited_is_read_when_the_workers_clock_says() -> None:
    reading = Reading()
    reading.world.send(0, 1)
    reading.look()
    waiting = reading.started()
    assert waiting is not None
    assert waiting.at_ms > FAKE_TIME_MS + AHEAD_MS, "it was there before anybody looked"
    reading.clock.advance(10)  # nobody looked for so long
    assert reading.receipt() == Receipt(reading.clock.monotonic_s(), reading.clock.now_ms())
    assert reading.metrics.value(Metric.CLOCK_SKEW) == 0
