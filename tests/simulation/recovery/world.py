"""One run of redrive and replay: a broker, people who run the commands until all is done, and faults, from one seed.

The commands are the real ones, down from the plan: reader, marks, progress, the writer and its transactions. A command
that ends before it is done is run again, and another may be started beside it.
"""

import random
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from kafka.structs import TopicPartition

from tests.simulation.census import Place
from tests.simulation.coordinator import MARKER_MAX_S, MARKER_S
from tests.simulation.faults import Counts, Fault, Planned, Schedule
from tests.simulation.modules import Change, Modules
from tests.simulation.producer import Producer
from tests.simulation.recovery.broker import Message, RecoveryBroker
from tests.simulation.recovery.census import COPIES, EVENTS, LETTERS, RecoveryCensus
from tests.simulation.recovery.consumer import ReadingConsumer
from tests.simulation.scheduling import Process, Scheduler
from tests.simulation.world import KAFKA
from topology.contract.codec import RecordLimits
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter, DeadLetterReason, SluicegateError
from topology.contract.records import Record
from workers.commands.console.progress import Pace
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.redriven_marks import SEGMENT_LETTERS
from workers.kafka import library_fixes

NAMES = (
    "workers.kafka.errors",
    "workers.kafka.watchdog",
    "workers.kafka.client",
    "workers.kafka.transactions",
    "workers.kafka.reader",
    "workers.commands.recovery.writer",
    "workers.commands.recovery.redriving",
    "workers.commands.recovery.replaying",
)
"""The modules that are run, in the order of their imports of each other."""

PARTITIONS = 2
RECORDS = (6, 16)
"""On each partition of each topic."""
FAULTS_UNTIL_S = 2.5
FAULTS = 14
CALM_BY_S = 4.0
"""By then whatever went wrong is over."""
LIVE_S = 40.0
"""R3: everything is done within that time."""
AGAIN_S = 0.3
"""Until somebody runs a command again, at most."""
LATENCY_S = 0.004
FREEZE_S = (0.1, 1.6)
DOWN_S = (0.05, 0.7)
MARKERS_S = (0.2, 1.0)

POINTS = (
    "connect",
    "committed",
    "committed_answer",
    "read",
    "init",
    "init_answer",
    "flush",
    "send",
    "flush_answer",
    "offsets",
    "offsets_answer",
    "commit",
    "commit_answer",
    "written",
)
"""Where another may go on, and something may go wrong: before and after each effect on the broker."""

OF_PROCESSES = (Fault.CRASH, Fault.FREEZE, Fault.SECOND_HOLDER, Fault.BROKER_RESTART, Fault.SLOW_MARKERS)
OF_CALLS = {
    Fault.LOST_ACK: ("init", "flush", "offsets"),
    Fault.EXPIRY: ("flush",),
    Fault.LATE_COPY: ("init", "flush", "offsets", "commit"),
    Fault.DOUBLED: ("init", "flush", "offsets", "commit"),
    Fault.EPOCH_BUMP: ("commit",),
    Fault.COMMIT_ANSWER_LOST: ("commit",),
    Fault.COMMIT_HANGS: ("commit",),
}

FAILED = {
    True: DeadLetter(DeadLetterReason.MALFORMED, "decode", ""),
    False: DeadLetter(DeadLetterReason.POISON, "decode", ""),
}
"""By whether a letter is put back without being asked for by name."""


class RecoveryCode:
    """The modules of recovery, perhaps changed; one run after the other uses them."""

    def __init__(self, changes: tuple[Change, ...] = ()) -> None:
        self.world: RecoveryWorld | None = None
        library = ModuleType(library_fixes.__name__)
        library.__dict__.update(vars(library_fixes), BoundedConsumer=self._consumer)
        self.modules = Modules(changes, {library_fixes.__name__: library}, NAMES)

    def _consumer(self, **options: Any) -> ReadingConsumer:
        assert self.world is not None
        return ReadingConsumer(self.world, self.world.scheduler.current.process, **options)


class RecoveryWorld:
    """`is_strict`: no producer is used again once it saw an error (I13)."""

    def __init__(self, seed: int, code: RecoveryCode, *, is_strict: bool = True) -> None:
        self.rng = rng = random.Random(seed)
        self.code = code
        self.is_strict = is_strict
        self.counts = Counts()
        self.scheduler = Scheduler(rng)
        code.world = self
        code.modules.machine.scheduler = self.scheduler
        self.census = RecoveryCensus(self.scheduler.fail)
        self.broker = RecoveryBroker(self.scheduler, rng, self.census, 1.2)
        self.is_calm = False
        self._schedule = Schedule(_plan(rng), OF_CALLS)
        self._running: list[Process] = []
        self._confirmed: set[str] = set()
        """Commands that were run once more after everything was done, and ended."""
        self._commands: dict[str, tuple[Callable[[Process], None], Callable[[], bool]]] = {
            "redrive": (self._redrive, lambda: self.census.is_redriven),
            "replay": (self._replay, lambda: self.census.is_replayed),
        }
        self._fill()
        for name in self._commands:
            self._start(name, rng.random() * 0.1)
        self.scheduler.call_at(CALM_BY_S, self._calm)

    def run(self) -> Counts:
        """Raises Violation, or whatever else ends a command that should not end."""
        try:
            self.scheduler.run(self._is_over, LIVE_S)
            if not self._is_over():
                done = {name: is_done() for name, (_, is_done) in self._commands.items()}
                self.scheduler.fail(f"R3: after {self.scheduler.now_s:.1f} s these are done: {done}")
        finally:
            self.scheduler.close()
        self.counts.runs, self.counts.steps = 1, self.scheduler.switch_count
        self.counts.events = len(self.census.letters)
        return self.counts

    # What clients ask

    def point(self, name: str, process: Process) -> str | None:
        """Let others go on, and perhaps something go wrong; return a fault that the call itself has to show."""
        self.counts.passed[name] += 1
        fault = self._schedule.due(name, self.scheduler.now_s)
        if fault is not None:
            self.counts.faults[fault.value, name] += 1
            self._bring_about(fault, process)
        self.scheduler.sleep(self.rng.random() ** 2 * LATENCY_S)
        return fault

    def written(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> tuple[str, Place]:
        """Return what stands for a copy in the broker's log: a value names the place of what it is a copy of."""
        number, offset = value.split(b":")
        return topic, (int(number), int(offset))

    def fetch_count(self) -> int:
        """Return how many records one fetch brings of a partition."""
        return self.rng.randint(1, 6)

    # Commands

    def _start(self, name: str, after_s: float) -> None:
        process = Process(name)
        process.on_death.append(lambda: self._ended(name, process))
        self._running.append(process)
        self.scheduler.call_at(
            self.scheduler.now_s + after_s,
            lambda: self.scheduler.spawn(process, lambda: self._live(name, process), name),
        )

    def _live(self, name: str, process: Process) -> None:
        errors = self.code.modules["workers.kafka.errors"]
        run, is_done = self._commands[name]
        was_done = self.is_calm and is_done()
        try:
            run(process)
        except (errors.SlotFenced, errors.KafkaUnavailable, WrongUse):
            self.counts.restarts += 1
        except SluicegateError as exc:
            self.scheduler.fail(f"a command ended: {exc!r}")
        if was_done:
            self._confirmed.add(name)
        self.scheduler.kill(process)

    def _ended(self, name: str, process: Process) -> None:
        """Somebody runs the command again, until all is done and a last run has found nothing to do."""
        self._running.remove(process)
        if name not in self._confirmed and not any(other.name == name for other in self._running):
            self._start(name, self.rng.random() * AGAIN_S)

    def _redrive(self, process: Process) -> None:
        """`sluicegate dlq redrive --yes`."""
        redriving = self.code.modules["workers.commands.recovery.redriving"]
        with self.code.modules["workers.kafka.reader"].RangeReader(KAFKA, LETTERS) as reader:
            selection = redriving.Selection()
            spans = redriving.spans_of(reader, selection)
            terms = redriving.Terms(limits=RecordLimits(), input_topic=EVENTS)
            limit = self.rng.choice((0, 0, 3))
            work = redriving.Redrive(reader, spans, selection, redriving.Consent(), terms, letters_max=limit)
            if not work.plan(redriving.load_marks(KAFKA, LETTERS, spans), 0, lambda _: None).chosen.total():
                return
            target = redriving.Target(topic=EVENTS, partition_count=PARTITIONS)
            with self._writer(process, redriving.transactional_id(KAFKA)) as writer:
                for _ in work.write(KAFKA, writer, target, self._pace(), self.rng.choice((1, 3, 7))):
                    self.point("written", process)

    def _replay(self, process: Process) -> None:
        """`sluicegate replay --into`, of the range that is to be replayed when it starts."""
        replaying = self.code.modules["workers.commands.recovery.replaying"]
        index = min(self.census.job_index, len(self.census.jobs) - 1)
        with self.code.modules["workers.kafka.reader"].RangeReader(KAFKA, EVENTS) as reader:
            work = replaying.Replay(KAFKA, reader, self.census.jobs[index], COPIES, PARTITIONS)
            if not work.job().is_done:
                with self._writer(process, replaying.transactional_id(KAFKA, COPIES)) as writer:
                    if index != self.census.job_index:
                        return  # nobody wants this range any more
                    for _ in work.write(writer, self._pace(), self.rng.choice((1, 3, 7))):
                        self.point("written", process)
        self.census.finish(index)

    def _writer(self, process: Process, transactional_id: str) -> Any:
        return self.code.modules["workers.commands.recovery.writer"].CopyWriter(
            KAFKA,
            transactional_id,
            exit_process=lambda _: self.scheduler.kill(process),
            make_producer=partial(Producer, self, process),
        )

    def _pace(self) -> Pace:
        return Pace(self.rng.choice((None, 30)), self.scheduler.sleep, monotonic_s=lambda: self.scheduler.now_s)

    # Faults

    def _bring_about(self, fault: Fault, process: Process) -> None:
        scheduler, rng = self.scheduler, self.rng
        match fault:
            case Fault.CRASH:
                scheduler.kill(process)
            case Fault.FREEZE:
                scheduler.freeze(process, rng.uniform(*FREEZE_S))
            case Fault.SECOND_HOLDER:
                self._start(process.name, rng.random() ** 3 * AGAIN_S)
            case Fault.BROKER_RESTART:
                self.broker.down_until_s = scheduler.now_s + rng.uniform(*DOWN_S)
            case Fault.SLOW_MARKERS:
                self.broker.marker_max_s = MARKER_MAX_S
                scheduler.call_at(scheduler.now_s + rng.uniform(*MARKERS_S), self._quick_markers)
            case _:
                pass  # left to the call

    def _quick_markers(self) -> None:
        self.broker.marker_max_s = MARKER_S

    def _calm(self) -> None:
        self.is_calm = True
        self._schedule.planned.clear()
        self.broker.down_until_s = 0.0
        self._quick_markers()

    def _is_over(self) -> bool:
        return self.is_calm and len(self._confirmed) == len(self._commands) and not self._running

    # The topics

    def _fill(self) -> None:
        """Write letters, of which some come later, around the bounds of segments; and events to be replayed."""
        rng = self.rng
        for number in range(PARTITIONS):
            letters, events = TopicPartition(LETTERS, number), TopicPartition(EVENTS, number)
            self.broker.add_partition(letters, SEGMENT_LETTERS - rng.randrange(12))
            self.broker.add_partition(events, rng.randrange(5))
            self.census.events[number] = []
            for _ in range(rng.randint(*RECORDS)):
                self._add_event(events)
                if rng.random() < 0.7:
                    self._add_letter(letters)
                else:
                    self.scheduler.call_at(rng.random() * FAULTS_UNTIL_S, partial(self._add_letter, letters))
            self.broker.leave_gap(events, rng.randrange(3))
        spans = [self._range(number) for number in range(PARTITIONS)]
        only = rng.randrange(PARTITIONS)
        self.census.jobs = [{only: self._range(only)}, dict(enumerate(spans))]

    def _range(self, number: int) -> Any:
        """Return a range that holds an offset, up to the end as often as not."""
        first, end = self.broker.bounds(TopicPartition(EVENTS, number))
        start = self.rng.randrange(first, end)
        span = self.code.modules["workers.kafka.reader"].Span
        return span(start=start, end=end if self.rng.random() < 0.5 else self.rng.randrange(start, end) + 1)

    def _add_event(self, partition: TopicPartition) -> None:
        def message(offset: int) -> Message:
            return Message(*partition, offset, 1, b"k", b"%d:%d" % (partition.partition, offset), ())

        self.census.events[partition.partition].append(self.broker.append(partition, self._gap(), message).offset)

    def _add_letter(self, partition: TopicPartition) -> None:
        is_put_back = self.rng.random() < 0.9
        read_at = self.rng.randrange(PARTITIONS)

        def message(offset: int) -> Message:
            value = b"%d:%d" % (partition.partition, offset)
            read = Record(topic=EVENTS, partition=read_at, offset=offset, timestamp_ms=1, key=b"k", value=value)
            letter = dead_letter(read, FAILED[is_put_back], RecordLimits(), LETTERS)
            return Message(*partition, offset, 1, letter.key, letter.value, letter.headers)

        added = self.broker.append(partition, self._gap(), message)
        self.census.letters[partition.partition, added.offset] = is_put_back

    def _gap(self) -> int:
        return 0 if self.rng.random() < 0.8 else self.rng.choice((1, 2, 5))


def _plan(rng: random.Random) -> list[Planned]:
    kinds = [rng.choice((*OF_PROCESSES, *OF_CALLS)) for _ in range(FAULTS)]
    planned = [Planned(rng.random() * FAULTS_UNTIL_S, kind, rng.choice(OF_CALLS.get(kind, POINTS))) for kind in kinds]
    return sorted(planned, key=lambda each: each.at_s)


def run(seed: int, code: RecoveryCode, *, is_strict: bool = True) -> Counts:
    """One run. Raises what broke."""
    return RecoveryWorld(seed, code, is_strict=is_strict).run()


def notices(seed: int, code: RecoveryCode, is_strict: bool) -> str:
    """Return what a run with that seed finds wrong; empty if it finds nothing."""
    try:
        run(seed, code, is_strict=is_strict)
    except Exception as exc:  # noqa: BLE001 - a changed command may break in any way
        return f"{type(exc).__name__}: {exc}"
    return ""
