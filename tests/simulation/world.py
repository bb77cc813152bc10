"""One run: a broker, a few workers with the real loop, a load, and faults; everything from one seed."""

import logging
import random
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from tests.simulation.broker import Broker
from tests.simulation.census import STATE, Census, Place
from tests.simulation.consumer import Consumer
from tests.simulation.coordinator import MARKER_MAX_S, MARKER_S
from tests.simulation.faults import Counts, Fault, plan
from tests.simulation.group import Group
from tests.simulation.inspection import WatchedSource, check_process
from tests.simulation.misfortune import Misfortune
from tests.simulation.modules import Change, Modules
from tests.simulation.producer import Producer
from tests.simulation.remembered import Ledger, LedgerReader
from tests.simulation.scheduling import Process, Scheduler
from tests.simulation.work import answer, processing_module
from topology.contract.errors import SluicegateError
from topology.contract.headers import Wire
from topology.telemetry.metrics import Metric
from workers.settings import KafkaSettings, LimitSettings

SLOTS = 3
EVENTS = 300
LOAD_UNTIL_S = 3.2
FAULTS_FROM_S, FAULTS_UNTIL_S = 0.25, 3.4
RESTART_MAX_S = 1.0
CALM_BY_S = 5.5
"""By then whatever went wrong is over."""
LIVE_S = 30.0
"""I10: everything is answered within that time."""
END_S = 12.0
"""Bound on the last drain."""
DRAIN_S = 2.0
SLOW_S = 0.8
"""Of a slow answer, at most."""
LATENCY_S = 0.004

WINDOWS = (3, 12, 1024)
CHANGED_SHARE = 0.2
"""Of starts: with another bound on windows."""
LONG_SLOW_SHARE = 0.2
LONG_SLOW_S = 2.0

KAFKA = KafkaSettings(
    group_id="g",
    cluster_name="c",
    session_timeout_ms=600,
    heartbeat_interval_ms=120,
    max_poll_interval_ms=1000,
    request_timeout_ms=300,
    delivery_timeout_ms=500,
    transaction_timeout_ms=1200,
    commit_timeout_s=2.5,
    connect_timeout_s=8,
)


class Silent:
    """Metrics and spans that go nowhere; a transaction's span is where others may go on before and after it."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        self._world.counts.aborted += name == Metric.TRANSACTION_ABORTS

    def observe(self, name: str, value: float, context: object = None, **labels: str) -> None:
        return None

    def gauge_set(self, name: str, value: float, **labels: str) -> None:
        return None

    def gauge_clear(self, name: str) -> None:
        return None

    @contextmanager
    def commit(self, topic: str, results: object) -> Generator["Silent"]:
        self._world.point("taken", self._process)
        yield self
        self._world.point("ended", self._process)

    def failed(self, outcome: str) -> None:
        return None


class VirtualClock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now_ms(self) -> int:
        return int(self._scheduler.now_s * 1000)

    def monotonic_s(self) -> float:
        return self._scheduler.now_s

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Code:
    """The worker's modules, perhaps changed; one run after the other uses them."""

    def __init__(self, changes: tuple[Change, ...] = ()) -> None:
        self.world: World | None = None
        self.modules = Modules(changes, {"workers.stream.processing": processing_module(self._world)})

    def _world(self) -> "World":
        assert self.world is not None
        return self.world


class World:
    """`is_strict`: no producer is used again once it saw an error (I13), and sources keep to their contract.

    `remembers`: conversations have states (S1).
    """

    def __init__(self, seed: int, code: Code, *, is_strict: bool = True, remembers: bool = False) -> None:
        self.rng = rng = random.Random(seed)
        self.code = code
        self.is_strict = is_strict
        self.remembers = remembers
        self.counts = Counts()
        self.scheduler = Scheduler(rng)
        code.world = self
        code.modules.machine.scheduler = self.scheduler
        code.modules.machine.live_metadata = self._live_metadata
        partition_count = rng.randint(4, 6)
        self._limits = LimitSettings(
            in_flight_max=rng.choice((2, 6, 32)),
            queue_events_max=rng.choice((6, 40, 2000)),
            batch_events_max=rng.choice((1, 6, 50)),
            window_events_max=rng.choice(WINDOWS),
            offset_map_chars_max=rng.choice((32, 64, 4096)),
            commit_interval_ms=rng.choice((20, 50, 100)),
            revoke_timeout_s=0.25,
        )
        self.limits: dict[Process, LimitSettings] = {}
        """A restart may come with others."""
        self.seen: dict[tuple[Process, int], tuple[object, int, int, int, bool]] = {}
        """What `inspection` last saw of each window."""
        self.ledger = Ledger(self.scheduler.fail)
        self.census = Census(
            partition_count, self._limits.offset_map_chars_max, self.scheduler.fail, self.ledger.commit
        )
        group = Group(self.scheduler, rng, partition_count, 0.6, rng.choice((0.3, 1.0)))
        self.broker = Broker(self.scheduler, rng, self.census, group, 1.2)
        self.consumers: dict[Process, Consumer] = {}
        self.loops: dict[Process, Any] = {}
        self.holders: dict[int, list[Process]] = {}
        self.wanted = set(range(SLOTS))
        self.is_calm = False
        self._drained_last: set[Process] = set()
        self.misfortune = Misfortune(self, plan(rng, FAULTS_FROM_S, FAULTS_UNTIL_S))
        self._keys = [b"k%d" % number for number in range(rng.randint(2, 6))]
        self._slowness = rng.choice((0.05, 0.2, 0.4))
        self._load()
        for slot in self.wanted:
            self.start(slot, rng.random() * 0.1)
        self.scheduler.call_at(CALM_BY_S, self._calm)

    def run(self) -> Counts:
        """Raises Violation, or whatever else ends a worker that should not end."""
        try:
            self.scheduler.run(lambda: self.is_calm and self._is_done(), LIVE_S)
            if not self._is_done():
                self._fail_stalled()
            self._drain_all()
            self.census.check_all()
        finally:
            self.scheduler.close()
        counts = self.counts
        counts.runs, counts.events, counts.steps = 1, self.census.written_count, self.scheduler.switch_count
        counts.rebalances = self.broker.group.rebalance_count
        return counts

    # What clients ask

    def point(self, name: str, process: Process) -> str | None:
        """Let others go on, and perhaps something go wrong; returns a fault that the call itself has to show."""
        action = self.pass_by(name, process)
        if action == Fault.LATE_ROUND:
            self.scheduler.sleep(self.misfortune.exile(process))
        elif action == Fault.SLOW:
            is_long = self.rng.random() < LONG_SLOW_SHARE
            self.scheduler.sleep(self.rng.random() * (LONG_SLOW_S if is_long else SLOW_S))
        else:
            self.scheduler.sleep(self.latency_s())
        return action

    def pass_by(self, name: str, process: Process) -> Fault | None:
        """As `point`, without waiting."""
        self.counts.passed[name] += 1
        return self.misfortune.strike(name, process)

    def written(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> tuple[str, Place]:
        """Return what stands for a record in the broker's log. Only states are written to a partition of their own."""
        if partition is not None and key is not None:
            return self.ledger.send(partition, key, value)
        number, offset = value.split(b":")
        return topic, (int(number), int(offset))

    def latency_s(self) -> float:
        return self.rng.random() ** 2 * LATENCY_S

    def work_s(self) -> float:
        """How long an event takes: most are quick, some last for many transactions."""
        return self.rng.random() ** 4 * self._slowness

    def fetch_count(self) -> int:
        return self.rng.randint(1, 12)

    def check(self, process: Process) -> None:
        loop = self.loops.get(process)
        if loop is not None:
            check_process(self, process, loop._tracker)

    # Workers

    def _live_metadata(self) -> object:
        return self.consumers[self.scheduler.current.process].group_metadata()

    def _exit(self, process: Process, code: int) -> None:
        assert code
        self.scheduler.kill(process)

    def start(self, slot: int, after_s: float) -> None:
        """Have a process hold the slot from then on."""
        process = Process(f"slot {slot}")
        is_changed = self.rng.random() < CHANGED_SHARE
        self.limits[process] = (
            replace(self._limits, window_events_max=self.rng.choice(WINDOWS)) if is_changed else self._limits
        )
        self.holders.setdefault(slot, []).append(process)
        process.on_death.append(lambda: self._ended(slot, process))
        self.scheduler.call_at(
            self.scheduler.now_s + after_s,
            lambda: self.scheduler.spawn(process, lambda: self._live(slot, process), "main"),
        )

    def _live(self, slot: int, process: Process) -> None:
        """The life of a worker's process."""
        modules, silent = self.code.modules, Silent(self, process)
        faults = modules["workers.kafka.errors"]
        try:
            source = modules["workers.kafka.source"].KafkaSource(
                KAFKA, "in", slot, metrics=silent, make_consumer=partial(Consumer, self, process)
            )
            sink = modules["workers.kafka.sink"].TransactionalSink(
                KAFKA,
                slot,
                exit_process=partial(self._exit, process),
                metrics=silent,
                make_producer=partial(Producer, self, process),
            )
            loop = modules["workers.stream.loop"].Loop(
                WatchedSource(self, source),
                sink,
                answer,
                clock=VirtualClock(self.scheduler),
                limits=self.limits[process],
                metrics=silent,
                tracing=silent,
                states=self._states(process, silent) if self.remembers else None,
            )
            self.loops[process] = loop
            loop.run()
            if process in self._drained_last and loop._tracker.held_count:
                self.scheduler.fail(f"I11: a drain left {loop._tracker.stats()}")
        except (faults.SlotFenced, faults.KafkaUnavailable):
            self.counts.restarts += 1
        except SluicegateError as exc:
            self.scheduler.fail(f"a worker ended: {exc!r}")
        self.scheduler.kill(process)

    def _states(self, process: Process, silent: Silent) -> Any:
        modules = self.code.modules["workers.stream.conversation_states"]
        bounds = modules.HeldBounds(conversations_max=1000, bytes_max=1 << 20, ttl_ms=10**9)
        reader = LedgerReader(self, process, self.code.modules["workers.kafka.errors"])
        clock = VirtualClock(self.scheduler)
        return modules.TopicConversationStates(
            STATE, reader, bounds=bounds, wire=Wire.JSON, clock=clock, metrics=silent
        )

    def _ended(self, slot: int, process: Process) -> None:
        """Somebody looks after the slot: it gets a new process where it has none."""
        self.holders[slot].remove(process)
        self.loops.pop(process, None)
        consumer = self.consumers.pop(process, None)
        if consumer is not None:
            consumer.is_closed = True
        if slot not in self.wanted:
            if not self.holders[slot]:
                self.broker.group.remove(f"g.c.{slot}")
        elif not self.holders[slot]:
            self.start(slot, self.rng.random() ** 2 * RESTART_MAX_S)

    # The run

    def _load(self) -> None:
        """Records in bursts, with the gaps that transaction markers and compaction leave."""
        rng, partitions = self.rng, len(self.census.inputs)
        left = EVENTS + rng.randrange(20)
        while left:
            size = min(left, rng.choice((1, 3, 8, 20)))
            left -= size
            self.scheduler.call_at(rng.random() * LOAD_UNTIL_S, partial(self._write, rng.randrange(partitions), size))

    def _write(self, partition: int, size: int) -> None:
        for _ in range(size):
            key = None if self.rng.random() < 0.1 else self.rng.choice(self._keys)
            gap = 0 if self.rng.random() < 0.8 else self.rng.choice((1, 2, 30))
            self.broker.write(partition, key, gap)

    def _calm(self) -> None:
        self.is_calm = True
        self.broker.marker_max_s = MARKER_S
        self.misfortune.end()

    def slow_markers(self, until_s: float) -> None:
        self.broker.marker_max_s = MARKER_MAX_S
        self.scheduler.call_at(until_s, lambda: setattr(self.broker, "marker_max_s", MARKER_S))

    def _is_done(self) -> bool:
        """Everything is answered and visible, and of two holders of a slot one has noticed."""
        is_answered = not self.census.open_count and self.broker.is_quiet
        return is_answered and all(len(holders) <= 1 for holders in self.holders.values())

    def _fail_stalled(self) -> None:
        left = self.census.open_count
        if left:
            self.scheduler.fail(f"I10: {left} records have no answer after {self.scheduler.now_s:.1f} s")
        self.scheduler.fail("I10: two processes hold a slot" if self.broker.is_quiet else "I10: readers are held back")

    def _drain_all(self) -> None:
        """I11: a drain that nothing disturbs leaves nothing behind."""
        self._drained_last.update(each for each, loop in self.loops.items() if loop.health().state.value == "running")
        self.wanted.clear()
        for loop in self.loops.values():
            loop.drain(DRAIN_S)
        for holders in self.holders.values():
            for process in holders:
                if process not in self.loops:
                    self.scheduler.kill(process)
        until_s = self.scheduler.now_s + END_S
        self.scheduler.run(lambda: not self.loops, until_s)
        if self.loops:
            self.scheduler.fail("I11: a drain has no end")


@contextmanager
def quiet() -> Generator[None]:
    """Without logging, whose cost is most of a run's."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def run(seed: int, code: Code, *, is_strict: bool = True, remembers: bool = False) -> Counts:
    """One run. Raises what broke."""
    return World(seed, code, is_strict=is_strict, remembers=remembers).run()


def notices(seed: int, code: Code, is_strict: bool, *, remembers: bool = False) -> str:
    """What a run with that seed finds wrong; empty where it finds nothing."""
    try:
        run(seed, code, is_strict=is_strict, remembers=remembers)
    except Exception as exc:  # noqa: BLE001 - a changed worker may break in any way
        return f"{type(exc).__name__}: {exc}"
    return ""
