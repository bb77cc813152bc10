"""Two workers of one group under aborts, lost sessions and restarts: every record is answered once, in order.

Each case is a seed, which its name shows. The workers' clock runs fast, so that a transaction is due every few ms.
"""

import asyncio
import random
import time

import pytest

from tests.plugins.kafka_broker import wait_until
from tests.plugins.memory_loop import AUDIT, INPUT, OUTPUT, WAIT_S, FastClock, Place, Running, World, answer
from topology.ports import Record, Result
from workers.fakes import GROUP, FakeBroker, instance_id
from workers.settings import LimitSettings

SEEDS = range(10)
PARTITIONS = 3
SLOTS = 2
FAULTS = 8
RECORDS_A_FAULT = 12
CLOCK_SPEED = 25.0
RESULT_MS_MAX = 60.0
"""Of which the fourth power of a random number is taken: most are quick, some last for several transactions."""
FAULT_PAUSE_S = 0.02


class Group:
    """The slots of one group, each with a loop that runs."""

    def __init__(self, seed: int) -> None:
        self.broker = FakeBroker()
        self._random = random.Random(seed)
        self._delays = random.Random(seed + 1)
        self._limits = LimitSettings(
            in_flight_max=self._random.choice((2, 8, 64)),
            queue_events_max=self._random.choice((3, 20, 2000)),
            batch_events_max=self._random.choice((1, 7, 200)),
        )
        self.aborts = self.restarts = self.expiries = 0
        self.members = [self._start(slot) for slot in range(SLOTS)]

    def _start(self, slot: int) -> tuple[World, Running]:
        world = World(PARTITIONS, self.broker, slot)
        return world, Running(world.loop(self._process, clock=FastClock(CLOCK_SPEED), limits=self._limits))

    async def _process(self, record: Record) -> Result:
        await asyncio.sleep(self._delays.random() ** 4 * RESULT_MS_MAX / 1000)
        return answer(record)

    def send(self, count: int) -> None:
        for _ in range(count):
            self.broker.send(INPUT, b"value", key=b"key", partition=self._random.randrange(PARTITIONS))

    def go_wrong(self) -> None:
        """One fault, chosen by the seed."""
        slot = self._random.randrange(SLOTS)
        world, run = self.members[slot]
        match self._random.choice(("abort", "expire", "restart")):
            case "abort":
                world.sink.abort_next()
                self.aborts += 1
            case "expire":
                self.broker.expire(instance_id(GROUP, slot))
                self.expiries += 1
            case _:
                run.drain(0)
                assert run.error is None
                self.members[slot] = self._start(slot)
                self.restarts += 1

    def end(self) -> None:
        for _, run in self.members:
            run.drain(WAIT_S)
            assert run.error is None, run.error


def in_order(group: Group, topic: str) -> dict[int, list[Place]]:
    answered = [(record.value or b"").decode().split(":") for record in group.broker.records(topic)]
    found: dict[int, list[Place]] = {}
    for partition, offset in answered:
        found.setdefault(int(partition), []).append((int(partition), int(offset)))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_every_record_is_answered_once_and_in_order(seed: int) -> None:
    group = Group(seed)
    for _ in range(FAULTS):
        group.send(RECORDS_A_FAULT)
        began_s = time.monotonic()
        wait_until(lambda since_s=began_s: time.monotonic() - since_s > FAULT_PAUSE_S, WAIT_S)
        group.go_wrong()
    count = FAULTS * RECORDS_A_FAULT
    wait_until(lambda: len(group.broker.records(OUTPUT)) >= count, WAIT_S)
    group.end()
    expected: dict[int, list[Place]] = {}
    for record in group.broker.records(INPUT):
        expected.setdefault(record.partition, []).append((record.partition, record.offset))
    assert in_order(group, OUTPUT) == expected
    assert in_order(group, AUDIT) == expected
    assert group.aborts + group.expiries + group.restarts == FAULTS
