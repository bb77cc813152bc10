"""Two workers of one group under aborts, lost sessions and restarts: every record is answered once, keys in order.

Each case is a seed, which its name shows. The workers' clock runs fast, so that a transaction is due every few ms.
"""

import asyncio
import random
from collections.abc import Iterable

import pytest

from tests.plugins.memory_loop import AUDIT, INPUT, OUTPUT, WAIT_S, FastClock, Place, Running, World, answer
from tests.plugins.patience import wait_until
from topology.contract.records import Record, Result
from topology.ports import Rest
from workers.development.memory_broker import GROUP, FakeBroker, instance_id
from workers.settings import LimitSettings

SEEDS = range(10)
PARTITIONS = 3
KEYS = 4
"""In each partition; one record of a few has none."""
SLOTS = 2
FAULTS = 8
RECORDS_A_FAULT = 12
CLOCK_SPEED = 25.0
RESULT_MS_MAX = 60.0
"""Of which the fourth power of a random number is taken: most are quick, some last for several transactions."""


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

    async def _process(self, record: Record, _rest: Rest) -> Result:
        await asyncio.sleep(self._delays.random() ** 4 * RESULT_MS_MAX / 1000)
        return answer(record)

    def send(self, count: int) -> None:
        for _ in range(count):
            partition, number = self._random.randrange(PARTITIONS), self._random.randrange(KEYS + 1)
            key = b"%d-%d" % (partition, number) if number < KEYS else None
            self.broker.send(INPUT, b"value", key=key, partition=partition)

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


def by_key(records: Iterable[tuple[bytes | None, Place]]) -> dict[bytes, list[Place]]:
    """The places of each key in their order; those without a key sorted."""
    found: dict[bytes, list[Place]] = {}
    for key, place in records:
        found.setdefault(key or b"", []).append(place)
    found.get(b"", []).sort()
    return found


def answered(group: Group, topic: str) -> dict[bytes, list[Place]]:
    return by_key((record.key, _place(record.value or b"")) for record in group.broker.records(topic))


def _place(value: bytes) -> Place:
    partition, offset = value.split(b":")
    return int(partition), int(offset)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_every_record_is_answered_once_and_each_key_in_order(seed: int) -> None:
    group = Group(seed)
    for fault in range(FAULTS):
        group.send(RECORDS_A_FAULT)
        under_way = fault * RECORDS_A_FAULT + RECORDS_A_FAULT // 4
        wait_until(lambda count=under_way: len(group.broker.records(OUTPUT)) >= count, WAIT_S)
        group.go_wrong()
    count = FAULTS * RECORDS_A_FAULT
    wait_until(lambda: len(group.broker.records(OUTPUT)) >= count, WAIT_S)
    group.end()
    expected = by_key((record.key, (record.partition, record.offset)) for record in group.broker.records(INPUT))
    assert answered(group, OUTPUT) == expected
    assert answered(group, AUDIT) == expected
    assert group.aborts + group.expiries + group.restarts == FAULTS
