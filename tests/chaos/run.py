"""A chaos run: load, faults one after the other, then everything is answered, drained and counted."""

import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from tests.chaos.census import (
    KAFKA_PYTHON,
    LIBRDKAFKA,
    Count,
    committed_positions,
    count,
    read_with_kafka_python,
    read_with_librdkafka,
    sent_records,
    uncommitted,
)
from tests.chaos.faults import WEIGHTS, Fault, FaultKind, plan_fault, plan_short
from tests.chaos.fleet import Seat, has_producer_process
from tests.chaos.frames import least
from tests.chaos.held import AFTERMATH_S, HeldBack, Window, add_sights
from tests.chaos.marks import Repeat, read_marks, repeated_after_drain
from tests.chaos.progress import Progress, save_progress
from tests.chaos.world import CATCH_UP_S, World
from workers.kafka.reader import read_topic

BROKER_GAP_S = 10.0
"""Between a restart of the broker and its next kill; and no kill while a worker drains."""

PARTITIONS_MAX = 12
START_TIMEOUT_S = 180.0
SETTLE_S = 180.0
WARM_UP_S = 3.0
"""After the first answer; what readers waited until then is not counted: the broker makes its own topics."""

SAVE_INTERVAL_S = 5.0
LINE_INTERVAL_S = 1.0


class Plan(Struct, frozen=True, kw_only=True):
    """How long a run is: until so many faults are done or so many seconds have passed."""

    faults: int
    seconds: float
    wait_s: tuple[float, float]
    calm_s: float
    """Undisturbed time before the first fault and after the last."""
    is_short: bool = False
    kinds: tuple[FaultKind, ...] = tuple(FaultKind)
    """Of the faults; of the short form, those that come after its own."""
    frames: int = 0
    """So many requests of each kind are late, cut off or doubled before it ends; 0: none is."""


class Result(Struct, frozen=True, kw_only=True):
    """What a run found. `is_clean`: nothing speaks against the guarantee."""

    seed: int
    progress: Progress
    counts: tuple[Count, ...]
    uncommitted: tuple[str, ...]
    acknowledged_lost: int
    """Acknowledged by the broker and not in the input topic: the broker's loss, not the workers'."""
    repeats: tuple[Repeat, ...]
    executions: int
    executions_repeated: int

    @property
    def is_clean(self) -> bool:
        """Whether every count that must be zero is."""
        faults = [one.fault_count for one in self.counts]
        drains = len(self.repeats) + len(self.progress.bad_drains)
        agree = len({(one.answered, one.dead_lettered) for one in self.counts}) == 1
        return not (any(faults) or self.uncommitted or drains or self.progress.fenced) and agree


class Run:
    """One session of it."""

    def __init__(self, world: World, plan: Plan, say: Callable[[str], None]) -> None:
        self._world = world
        self._plan = plan
        self._say = say
        self._progress = world.progress
        self._held_before = {
            name: HeldBack(buckets=list(h.buckets), longest_s=h.longest_s) for name, h in self._progress.held.items()
        }
        done = self._progress
        self._before = (done.elapsed_s, done.sent_count, done.acknowledged_count, done.answered_count)
        self._began_s = time.monotonic()
        self._saved_s = self._line_s = 0.0
        self._exits_before = Counter(self._progress.exits)
        self._frames_before = Counter(self._progress.frames)
        self._windows: list[Window] = []
        self._warm_s = time.time() + START_TIMEOUT_S
        self._broker_back_s = time.monotonic() - BROKER_GAP_S
        self._retire: tuple[float, str] | None = None
        self._short = (
            plan_short(
                self._progress.seed,
                slots=self._progress.workers,
                session_s=self._progress.session_s,
                wait_s=plan.wait_s,
            )
            if plan.is_short
            else []
        )

    def go(self) -> Result:
        """Everything, the census too."""
        world = self._world
        world.add_generation()
        world.load.start()
        if not world.wait(lambda: world.watch.answered_count > 0, START_TIMEOUT_S, self._tick):
            raise TimeoutError(f"nothing was answered within {START_TIMEOUT_S:g} s")
        world.wait(lambda: False, WARM_UP_S, self._tick)
        self._warm_s = time.time()
        self._calm()
        self._disturb(True)
        while not self._is_over():
            fault = self._next_fault()
            world.wait(lambda: False, fault.wait_s, self._tick)
            self._do(fault)
            self._progress.fault_number += 1
            self._save()
        self._disturb(False)
        self._say(f"{self._progress.fault_count} faults done; waiting for everything to be answered")
        world.wait(self._is_settled, SETTLE_S, self._tick)
        self._calm()
        world.load.stop()
        self._catch_up()
        world.fleet.end()
        self._save()
        return self._count()

    def _is_over(self) -> bool:
        is_enough = not self._plan.frames or least(self._progress.frames) >= self._plan.frames
        done = is_enough and self._progress.fault_count >= self._plan.faults
        return done or self._progress.elapsed_s >= self._plan.seconds

    def _disturb(self, is_disturbed: bool) -> None:
        if self._world.storm:
            self._world.storm.is_calm = not is_disturbed

    def _calm(self) -> None:
        self._world.wait(lambda: False, self._plan.calm_s, self._tick)

    def _next_fault(self) -> Fault:
        number, slots = self._progress.fault_number, self._progress.workers
        if number < len(self._short):
            return self._short[number]
        return plan_fault(
            self._progress.seed,
            number,
            slots=slots,
            session_s=self._progress.session_s,
            wait_s=self._plan.wait_s,
            weights={kind: WEIGHTS[kind] for kind in self._plan.kinds},
        )

    def _do(self, fault: Fault) -> None:
        """The fault, or a kill where it cannot be now."""
        world = self._world
        if fault.kind in {FaultKind.BROKER, FaultKind.FREEZE}:
            self._wait_for_broker_turn()
        seat = self._seat(fault)
        kind = fault.kind if self._can_be(fault.kind, seat) else FaultKind.KILL
        began_s = time.time()
        lasts_s = fault.lasts_s
        match kind:
            case FaultKind.BROKER:
                world.restart_broker(fault.lasts_s)
                self._broker_back_s = time.monotonic()
                lasts_s = time.time() - began_s
                self._progress.broker_away_s = max(self._progress.broker_away_s, lasts_s)
                if lasts_s > world.kafka.transaction_timeout_ms / 2000:
                    world.fleet.note_outage()
            case FaultKind.FREEZE:
                world.fleet.note_outage()
                world.freeze_broker(fault.lasts_s, self._tick)
                self._broker_back_s = time.monotonic()
            case FaultKind.PARTITIONS:
                world.add_partition()
            case FaultKind.GENERATION:
                clusters = [*world.fleet.clusters(), world.add_generation()]
                self._retire = time.monotonic() + fault.lasts_s, clusters[fault.slot % 2]
            case FaultKind.KILL:
                world.fleet.kill(seat)
            case FaultKind.ABSENCE:
                world.fleet.kill(seat, fault.lasts_s)
            case FaultKind.PRODUCER:
                world.fleet.kill_producer(seat)
            case FaultKind.STOP | FaultKind.HICCUP:
                world.fleet.stop(seat, fault.lasts_s)
            case FaultKind.DRAIN:
                world.fleet.drain(seat)
        self._progress.faults[kind.value] = self._progress.faults.get(kind.value, 0) + 1
        self._windows.append(Window(kind=kind, from_s=began_s, until_s=began_s + lasts_s + AFTERMATH_S[kind]))

    def _can_be(self, kind: FaultKind, seat: Seat) -> bool:
        fleet = self._world.fleet
        match kind:
            case FaultKind.GENERATION:
                return self._retire is None and len(fleet.clusters()) == 1
            case FaultKind.PARTITIONS:
                return self._world.partition_count() < PARTITIONS_MAX
            case FaultKind.PRODUCER:
                return fleet.producer_of(seat) is not None
            case _:
                return True

    def _wait_for_broker_turn(self) -> None:
        def is_turn() -> bool:
            is_due = time.monotonic() - self._broker_back_s >= BROKER_GAP_S
            return is_due and not self._world.fleet.is_draining() and self._retire is None

        self._world.wait(is_turn, SETTLE_S, self._tick)

    def _seat(self, fault: Fault) -> Seat:
        """An undisturbed worker, that of the fault's slot first; any that is not being drained where there is none."""
        seats = [seat for seat in self._world.fleet.seats if not seat.is_retired]
        if fault.kind is FaultKind.PRODUCER:
            seats = [seat for seat in seats if has_producer_process(seat.slot)] or seats
        turned = [seats[(fault.slot + step) % len(seats)] for step in range(len(seats))]
        well = [seat for seat in turned if seat.is_well]
        if not well:
            self._world.wait(lambda: any(seat.is_well for seat in seats), SETTLE_S, self._tick)
            well = [seat for seat in turned if seat.is_well] or turned
        return well[0]

    def _is_settled(self) -> bool:
        return self._retire is None and all(seat.is_well for seat in self._world.fleet.seats)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._retire is not None and now_s >= self._retire[0]:
            self._world.fleet.retire(self._retire[1])
            self._retire = None
        if now_s - self._saved_s >= SAVE_INTERVAL_S:
            self._save()
        if now_s - self._line_s >= LINE_INTERVAL_S:
            self._line_s = now_s
            self._say(self._line())

    def _line(self) -> str:
        world, done = self._world, self._progress
        self._update()
        fault_text = " ".join(f"{name}:{number}" for name, number in sorted(done.faults.items()))
        well = sum(seat.is_well for seat in world.fleet.seats)
        return (
            f"\r{done.elapsed_s:6.0f} s  sent {done.sent_count}  answered {done.answered_count}"
            f"  duplicates {world.watch.duplicate_count}  well {well}/{len(world.fleet.seats)}"
            f"  faults {done.fault_count}  {fault_text} "
        )

    def _update(self) -> None:
        done, load, exits = self._progress, self._world.load, self._world.fleet.exits
        elapsed_s, sent, acknowledged, answered = self._before
        done.elapsed_s = elapsed_s + time.monotonic() - self._began_s
        done.sent_count = sent + load.sent_count
        done.acknowledged_count = acknowledged + load.acknowledged_count
        done.answered_count = answered + self._world.watch.answered_count
        done.exits = dict(self._exits_before + exits.counts)
        if self._world.storm:
            disturbed = {f"{name} {trouble}": count for (name, trouble), count in self._world.storm.counts().items()}
            done.frames = dict(self._frames_before + Counter(disturbed))

    def _save(self) -> None:
        self._saved_s = time.monotonic()
        self._update()
        done, exits = self._progress, self._world.fleet.exits
        done.drained += exits.drained
        done.returned += exits.returned
        done.bad_drains += exits.bad_drains
        done.fenced += exits.fenced
        for kept in (exits.drained, exits.returned, exits.bad_drains, exits.fenced):
            kept.clear()
        held = {name: HeldBack(buckets=list(h.buckets), longest_s=h.longest_s) for name, h in self._held_before.items()}
        add_sights(held, self._world.watch.sights(self._warm_s), self._windows)
        done.held = held
        save_progress(self._world.directory, done)

    def _catch_up(self) -> None:
        world = self._world
        deadline_s = time.monotonic() + CATCH_UP_S
        while not world.is_caught_up() and time.monotonic() < deadline_s:
            world.wait(lambda: False, 1.0, self._tick)

    def _count(self) -> Result:
        world = self._world
        self._say("census, from the beginning of every topic")
        sent = sent_records(read_topic(world.kafka, world.topics.events))
        counts = (
            count(KAFKA_PYTHON, sent, read_with_kafka_python(world.kafka, world.topics)),
            count(LIBRDKAFKA, sent, read_with_librdkafka(world.kafka, world.topics)),
        )
        work = read_marks(world.directory / "marks")
        return Result(
            seed=self._progress.seed,
            progress=self._progress,
            counts=counts,
            uncommitted=tuple(uncommitted(sent, committed_positions(world.kafka, world.topics.events))),
            acknowledged_lost=max(0, self._progress.acknowledged_count - len(sent)),
            repeats=tuple(repeated_after_drain(work, self._progress.drained, self._progress.returned)),
            executions=work.started_count,
            executions_repeated=work.repeated_count,
        )
