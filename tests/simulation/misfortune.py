"""Brings the planned faults about, each at its point."""

from typing import TYPE_CHECKING

from tests.simulation.faults import OF_CALLS, Fault, Planned, Schedule
from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

FREEZE_S = (0.1, 1.6)
MISSING_S = (0.2, 0.5)
"""Shorter than a session."""
EXILE_S = (0.4, 0.9)
UNDISTURBED_SHARE = 0.3
DISTURBED_S = (0.0, 0.05)
DOWN_S = (0.05, 0.7)
AWAY_S = (0.2, 1.0)
DRAIN_S = (0.0, 0.6)
REPAIR_S = (0.1, 0.9)
FOREIGN = ("", "x1.AAAA", "g1.", "z1.AAAA")


class Misfortune:
    """The faults of one run."""

    def __init__(self, world: "World", planned: list[Planned]) -> None:
        self._world = world
        self._schedule = Schedule(planned, OF_CALLS)
        self._repairs: list[tuple[int, tuple[int, str], tuple[int, str]]] = []
        world.broker.group.on_given_back = self._disturb

    def strike(self, point: str, process: Process) -> Fault | None:
        """The fault that waits for this point, brought about; those of calls are left to the call."""
        fault = self._schedule.due(point, self._world.scheduler.now_s)
        if fault is not None:
            self._world.counts.faults[fault.value, point] += 1
            if fault not in OF_CALLS:
                self._bring_about(fault, process)
        return fault

    def is_spoilt(self, partition: int) -> bool:
        """Whether its committed map is somebody else's for now."""
        return any(number == partition for number, _, _ in self._repairs)

    def end(self) -> None:
        """Nothing goes wrong any more, and what went wrong is repaired."""
        self._schedule.planned.clear()
        self._world.broker.down_until_s = 0.0
        while self._repairs:
            self._repair(*self._repairs[0])

    def _bring_about(self, fault: Fault, process: Process) -> None:  # noqa: C901, PLR0912 - one case for each fault
        world, scheduler, rng = self._world, self._world.scheduler, self._world.rng
        group, now_s = world.broker.group, self._world.scheduler.now_s
        slot = self._slot_of(process)
        match fault:
            case Fault.CRASH:
                scheduler.kill(process)
            case Fault.FREEZE:
                scheduler.freeze(process, rng.uniform(*FREEZE_S))
            case Fault.KICK:
                group.remove(f"g.c.{slot}")
            case Fault.STALE_IDENTITY:
                if (consumer := world.consumers.get(process)) is not None:
                    consumer.forget()
            case Fault.SECOND_HOLDER:
                world.start(slot, rng.random() * 0.3)
            case Fault.REBALANCE:
                group.rebalance()
            case Fault.MISSED_GENERATION:
                scheduler.freeze(process, rng.uniform(*MISSING_S))
                group.pass_over(f"g.c.{slot}")
            case Fault.REJOIN:
                if (consumer := world.consumers.get(process)) is not None:
                    consumer.rejoin()
            case Fault.LEAVE:
                world.wanted.discard(slot)
                self._drain(process)
                scheduler.call_at(now_s + rng.uniform(*AWAY_S), lambda: self._come_back(slot))
            case Fault.JOIN:
                self._come_back(max(world.holders) + 1)
            case Fault.DRAIN:
                self._drain(process)
            case Fault.BROKER_RESTART:
                world.broker.down_until_s = now_s + rng.uniform(*DOWN_S)
                scheduler.call_at(world.broker.down_until_s, group.forgive)
            case Fault.SLOW_MARKERS:
                world.slow_markers(now_s + rng.uniform(*AWAY_S))
            case Fault.COMPACTION:
                self._compact()
            case Fault.FOREIGN_MAP:
                self._spoil()
            case _:
                pass

    def exile(self, process: Process) -> float:
        """Have everything of a process move to others, and back; returns how many seconds that takes."""
        world, group = self._world, self._world.broker.group
        group.pass_over(f"g.c.{self._slot_of(process)}", is_exile=True)
        back_after_s = world.rng.uniform(*EXILE_S)
        world.scheduler.call_at(world.scheduler.now_s + back_after_s, group.rebalance)
        return back_after_s + world.rng.uniform(*EXILE_S)

    def _slot_of(self, process: Process) -> int:
        return next(slot for slot, holders in self._world.holders.items() if process in holders)

    def _disturb(self) -> None:
        """Often the next rebalance comes before positions are found."""
        world, now_s = self._world, self._world.scheduler.now_s
        if world.is_calm or world.rng.random() < UNDISTURBED_SHARE:
            return
        for _ in range(world.rng.randint(1, 4)):
            self._schedule.planned.insert(0, Planned(now_s, Fault.LOST_ACK, "committed"))
        world.scheduler.call_at(now_s + world.rng.uniform(*DISTURBED_S), world.broker.group.rebalance)

    def _drain(self, process: Process) -> None:
        loop = self._world.loops.get(process)
        if loop is None:
            self._world.scheduler.kill(process)
        else:
            loop.drain(self._world.rng.uniform(*DRAIN_S))

    def _come_back(self, slot: int) -> None:
        world = self._world
        world.wanted.add(slot)
        if not world.holders.get(slot):
            world.start(slot, 0.0)

    def _compact(self) -> None:
        """A record near the oldest one that is not done."""
        world = self._world
        partition = world.rng.randrange(len(world.census.inputs))
        target = world.census.inputs[partition]
        left = [offset for offset in target.offsets if offset not in target.answered][:8]
        if left:
            world.broker.compact(partition, world.rng.choice(left))

    def _spoil(self) -> None:
        world = self._world
        known = [number for number, position in enumerate(world.broker.committed) if position is not None]
        known = [number for number in known if not self.is_spoilt(number)]
        if not known:
            return
        partition = world.rng.choice(known)
        before = world.broker.committed[partition]
        assert before is not None
        base, text = before
        spoilt = world.rng.choice(FOREIGN[1:])
        if len(text) > 4 and world.rng.random() < 0.7:
            at = world.rng.randrange(3, len(text))
            spoilt = text[:at] + world.rng.choice("ABCDwxyz0189".replace(text[at], "")) + text[at + 1 :]
        after = base, spoilt
        world.broker.committed[partition] = after
        self._repairs.append((partition, before, after))
        due_s = world.scheduler.now_s + world.rng.uniform(*REPAIR_S)
        world.scheduler.call_at(due_s, lambda: self._repair(partition, before, after))

    def _repair(self, partition: int, before: tuple[int, str], after: tuple[int, str]) -> None:
        """Put the position back where nobody has committed since, and have it read again."""
        if (partition, before, after) in self._repairs:
            self._repairs.remove((partition, before, after))
            if self._world.broker.committed[partition] == after:
                self._world.broker.committed[partition] = before
                self._world.broker.group.rebalance()
