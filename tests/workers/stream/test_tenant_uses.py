"""The use of tenants in the loop, on the broker in memory: written with the answers it counts, never beyond them."""

import threading
from collections.abc import Iterable

import msgspec

from tests.plugins.memory_loop import INPUT, OUTPUT, WAIT_S, World, running
from tests.plugins.patience import wait_until
from topology.contract.codec import encode
from topology.contract.records import OutRecord, Record, Result
from topology.contract.tenants import Charge, Priority, Share, Spent, UsageRecord, Use
from topology.policy.budgets import Limit, TenantBudget, Window
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.development.memory_broker import FakeBroker
from workers.kafka.errors import StatesUnreadable
from workers.policy.keeper import PolicyKeeper
from workers.process.clock import SystemClock
from workers.settings import Settings
from workers.stream.loop import Loop, Tenancy
from workers.stream.tenant_uses import Shares, TopicTenantUses

USAGE = "usage"
BUDGET = TenantBudget(tenant_id="acme", version="1.0.0", limits=(Limit(window=Window.DAY, events=6),))
EVENT = Use(events=1, generation=Spent(calls=1, input_tokens=3, output_tokens=2))


class BrokerUse:
    """The UsageSource on the broker in memory. While `is_open` is not set nothing is read; `faults` come first."""

    def __init__(self, broker: FakeBroker, partitions: int) -> None:
        self.broker = broker
        self.partitions = partitions
        self.is_open = threading.Event()
        self.is_open.set()
        self.faults: list[str] = []

    def partition_count(self) -> int:
        return self.partitions

    def read(self, partition: int) -> Iterable[Record]:
        assert self.is_open.wait(WAIT_S)
        if self.faults:
            raise StatesUnreadable(self.faults.pop())
        return [record for record in self.broker.records(USAGE) if record.partition == partition]

    def close(self) -> None:
        return None


class Till:
    """Charges every admitted record to one tenant."""

    def __init__(self, broker: FakeBroker, partitions: int = 1) -> None:
        self.source = BrokerUse(broker, partitions)
        self.metrics = Instruments.none()
        self.clock = SystemClock()
        self.uses = TopicTenantUses(USAGE, self.source, tenants_max=10, clock=self.clock, metrics=self.metrics)

    async def process(self, record: Record, _rest: Rest) -> Result:
        admission = self.uses.admit(record, "acme", BUDGET, self.clock.now_ms())
        is_admitted = admission.retry_after_ms is None
        return Result(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            records=(OutRecord(topic=OUTPUT, key=record.key, value=b"yes" if is_admitted else b"no"),),
            charge=Charge(tenant_id="acme", use=EVENT if is_admitted else Use(limited=1)),
        )


def world_of(partitions: int = 1) -> World:
    world = World(partitions)
    world.broker.create_topic(USAGE, partitions)
    return world


def loop_of(world: World, till: Till) -> Loop:
    return world.loop(till.process, tenancy=Tenancy(till.uses))


def wait_answers(world: World, count: int) -> None:
    wait_until(lambda: len(world.broker.records(OUTPUT)) >= count, WAIT_S)


def sums(world: World) -> Use:
    """The newest sums of all keys, as a reader of the compacted topic has them."""
    newest = {record.key: record.value or b"" for record in world.broker.records(USAGE)}
    return sum((msgspec.json.decode(value, type=UsageRecord).use for value in newest.values()), Use())


def test_sums_are_exactly_what_was_answered_although_a_round_was_aborted() -> None:
    world = world_of()
    world.send(0, 5)
    world.sink.abort_next()
    with running(loop_of(world, Till(world.broker))):
        wait_answers(world, 5)
    assert sums(world) == sum([EVENT] * 5, Use())


def test_a_round_writes_one_sum() -> None:
    world = world_of()
    world.send(0, 5)
    with running(loop_of(world, Till(world.broker))):
        wait_answers(world, 5)
    offsets = world.broker.records(OUTPUT, isolation="read_uncommitted")
    assert len(world.broker.records(USAGE)) < len(offsets)


def test_the_next_owner_goes_on_where_the_last_one_was_committed() -> None:
    world = world_of()
    world.send(0, 4)
    with running(loop_of(world, Till(world.broker))):
        wait_answers(world, 4)
    again = World(broker=world.broker)
    world.send(0, 4)
    with running(loop_of(again, Till(world.broker))):
        wait_answers(world, 8)
    total = sums(world)
    assert (total.events, total.limited, total.answers) == (6, 2, 8)
    assert [record.value for record in world.broker.records(OUTPUT)].count(b"yes") == 6


def test_each_partition_admits_its_part() -> None:
    world = world_of(2)
    for partition in (0, 1):
        world.send(partition, 5)
    with running(loop_of(world, Till(world.broker, 2))):
        wait_answers(world, 10)
    assert (sums(world).events, sums(world).limited) == (6, 4)


def test_nothing_is_delivered_before_the_use_is_read() -> None:
    world = world_of()
    world.send(0, 1)
    till = Till(world.broker)
    till.source.is_open.clear()
    with running(loop_of(world, till)) as run:
        wait_until(lambda: run.loop.health().assigned, WAIT_S)
        assert not world.broker.records(OUTPUT)
        till.source.is_open.set()
        wait_answers(world, 1)


def test_a_failed_read_is_counted_and_tried_again() -> None:
    world = world_of()
    world.send(0, 1)
    till = Till(world.broker)
    till.source.faults.append("as it happens")
    with running(loop_of(world, till)):
        wait_answers(world, 1)
    assert till.metrics.value(Metric.STATE_RESTORE_FAILURES) == 1


def test_a_partition_whose_use_cannot_be_decoded_is_not_delivered() -> None:
    world = world_of()
    world.broker.send(USAGE, b"{}", key=b"k", partition=0)
    world.send(0, 1)
    till = Till(world.broker)
    with running(loop_of(world, till)):
        wait_until(lambda: bool(till.metrics.value(Metric.STATE_RESTORE_FAILURES)), WAIT_S)
        assert not world.broker.records(OUTPUT)


def test_the_topic_may_hold_sums_of_earlier_days() -> None:
    world = world_of()
    early = UsageRecord(tenant_id="acme", topic=INPUT, partition=0, day_ms=0, use=Use(events=100))
    world.broker.send(USAGE, encode(early), key=early.key, partition=0)
    world.send(0, 1)
    with running(loop_of(world, Till(world.broker))):
        wait_answers(world, 1)
    assert sums(world).events == 101


class Budgets:
    """The PolicySource of one budget."""

    refused = ()

    def look(self) -> Policies:
        urgent = TenantBudget(tenant_id="acme", version="1.0.0", weight=3, priority=Priority.INTERACTIVE)
        return Policies(packaged_bundle(), budgets={"acme": urgent})

    def close(self) -> None:
        return None


def test_a_record_has_the_share_of_the_tenant_that_it_names() -> None:
    keeper = PolicyKeeper(
        Budgets(), source_name="fixed", interval_s=60, clock=SystemClock(), metrics=Instruments.none()
    )
    keeper.look()
    shares = Shares(Settings(), keeper)
    read = Record(topic=INPUT, partition=0, offset=0, timestamp_ms=0, key=b"k", value=b'{"tenant_id": "acme"}')
    assert shares.of(read) == Share(tenant_id="acme", weight=3, priority=Priority.INTERACTIVE)
    assert shares.of(msgspec.structs.replace(read, value=b'{"tenant_id": "other"}')) == Share(tenant_id="other")
    assert shares.of(msgspec.structs.replace(read, value=b"no event")) == Share(tenant_id="")
