"""What a worker holds follows how long events wait in it for their turn, and what their receipt says of the time."""

import asyncio

from tests.plugins.memory_loop import WAIT_S, World, answer, running
from tests.plugins.patience import wait_until
from topology.contract.records import Record, Result
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.development.memory_broker import FAKE_TIME_MS, POLL_RECORDS_MAX
from workers.process.clock import SystemClock
from workers.settings import LimitSettings
from workers.stream.loop import HELD_PER_RUNNING, intake_limiter

AHEAD_MS = 50 * 60_000


class AheadClock(SystemClock):
    """A wall clock that is fifty minutes ahead of the records' times."""

    def now_ms(self) -> int:
        return FAKE_TIME_MS + AHEAD_MS


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
    world, is_open = World(partitions=1), asyncio.Event()
    world.send(0, 3 * POLL_RECORDS_MAX)
    receipts: list[bool] = []

    async def process(record: Record, _rest: Rest) -> Result:
        receipts.append(record.receipt is not None)
        await is_open.wait()
        return answer(record)

    loop = world.loop(process, limits=LIMITS)
    with running(loop):
        wait_until(lambda: loop.health().paused, WAIT_S)
        assert loop.health().held_count <= POLL_RECORDS_MAX < LIMITS.queue_events_max
        loop._processing._loop.call_soon_threadsafe(is_open.set)
        world.wait_answered(3 * POLL_RECORDS_MAX)
    assert all(receipts)


def test_a_fresh_record_is_read_when_its_own_time_says_and_a_clock_that_disagrees_is_shown() -> None:
    world, metrics = World(partitions=1), Instruments.none()
    read_ms: list[int] = []

    async def process(record: Record, _rest: Rest) -> Result:
        assert record.receipt is not None
        read_ms.append(record.receipt.at_ms - record.timestamp_ms)
        return answer(record)

    loop = world.loop(process, clock=AheadClock(), metrics=metrics)
    with running(loop):
        for count in range(1, 4):
            wait_until(lambda: bool(loop._poller._read_to_end), WAIT_S)
            world.send(0, 1)
            world.wait_answered(count)
        wait_until(lambda: metrics.value(Metric.CLOCK_SKEW) > AHEAD_MS / 1000 - 60, WAIT_S)
    assert read_ms == [0, 0, 0]
