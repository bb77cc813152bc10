"""What a worker holds follows how long events wait in it for their turn; the rest waits in Kafka."""

import asyncio

from tests.plugins.memory_loop import WAIT_S, World, answer, running
from tests.plugins.patience import wait_until
from topology.contract.records import Record, Result
from topology.ports import Rest
from workers.development.memory_broker import POLL_RECORDS_MAX
from workers.settings import LimitSettings
from workers.stream.loop import HELD_PER_RUNNING, intake_limiter

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
