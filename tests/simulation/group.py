"""The group coordinator: static members, generations, eager and cooperative rebalances, sessions, fencing.

The leader's part, the assignment, is done here; the cooperative one has the defect of the library's (K10): what members
say they own is believed, without a generation.
"""

import random
from collections.abc import Callable
from enum import Enum
from itertools import count

from kafka import errors

from tests.simulation.scheduling import Scheduler

PASSED_OVER_S = 0.08

SHUFFLED_SHARE = 0.3
"""Of assignments: stickiness is best effort, so everything can move, and come back with the next."""

SAME_SHARE = 0.8
"""Of joins of a known member of a stable group: one that is not the leader and asks for the same gets it again."""


class Phase(Enum):
    """Where a rebalance is."""

    STABLE = "stable"
    JOINING = "joining"


class Joined:
    """What a join ends as."""

    def __init__(self, generation: int, member_id: str, partitions: frozenset[int]) -> None:
        self.generation = generation
        self.member_id = member_id
        self.partitions = partitions


Answer = Callable[[Joined | Exception], None]


class Member:
    """A static member."""

    def __init__(self, member_id: str, instance_id: str, seen_s: float) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.seen_s = seen_s
        self.partitions: frozenset[int] = frozenset()
        self.claims: frozenset[int] = frozenset()
        self.answer: Answer | None = None
        """Waits for the rebalance to end."""


class Group:
    """One group that reads all partitions of one topic. `is_cooperative` is set by the consumers' assignor."""

    def __init__(
        self, scheduler: Scheduler, rng: random.Random, partition_count: int, session_s: float, rebalance_s: float
    ) -> None:
        self.is_cooperative = False
        self.generation = 0
        self.rebalance_count = 0
        self._scheduler = scheduler
        self._rng = rng
        self._partitions = range(partition_count)
        self._session_s = session_s
        self._rebalance_s = rebalance_s
        self._members: dict[str, Member] = {}
        self._phase = Phase.STABLE
        self._began_s = 0.0
        self._numbers = count(1)
        self.on_given_back: Callable[[], None] = lambda: None
        """Called when a member that missed a generation gets back what it had."""
        self._passed_over = ""
        self._is_exile = False
        self._given_back: dict[str, frozenset[int]] = {}

    def owner_of(self, partition: int) -> str | None:
        """The member id that the last assignment gave it to."""
        return next((m.member_id for m in self._members.values() if partition in m.partitions), None)

    @property
    def is_stable(self) -> bool:
        return self._phase is Phase.STABLE

    @property
    def instance_ids(self) -> list[str]:
        return list(self._members)

    def join(self, member_id: str, instance_id: str, claims: frozenset[int], answer: Answer) -> None:
        """Ask to be a member; `answer` is called, perhaps at once."""
        member = self._members.get(instance_id)
        now_s = self._scheduler.now_s
        if member is None:
            if member_id:
                answer(errors.UnknownMemberIdError())
                return
            member = self._members[instance_id] = Member(self._new_id(instance_id), instance_id, now_s)
            self._begin()
        elif not member_id:
            self._replace(member, answer)
            if member.answer is None and self._phase is Phase.STABLE:
                member.seen_s = now_s
                answer(Joined(self.generation, member.member_id, member.partitions))
                return
        elif member_id != member.member_id:
            answer(errors.FencedInstanceIdError())
            return
        elif self._phase is Phase.STABLE and member.claims == claims and self._rng.random() < SAME_SHARE:
            member.seen_s = now_s
            answer(Joined(self.generation, member.member_id, member.partitions))
            return
        else:
            self._begin()
        member.seen_s, member.claims, member.answer = now_s, claims, answer
        self._complete_if_all()

    def heartbeat(self, member_id: str, instance_id: str, generation: int) -> None:
        """Keep a session. Raises what the member has to know."""
        member = self._check(member_id, instance_id)
        member.seen_s = self._scheduler.now_s
        if self._phase is Phase.JOINING:
            raise errors.RebalanceInProgressError
        if generation != self.generation:
            raise errors.IllegalGenerationError

    def check_commit(self, generation: int, member_id: str, instance_id: str) -> None:
        """Raises what a commit under that identity is refused with. Who owns what is not looked at."""
        self._check(member_id, instance_id)
        if generation != self.generation:
            raise errors.IllegalGenerationError

    def remove(self, instance_id: str) -> None:
        """Take a member out: it left for good, or somebody removed it."""
        member = self._members.pop(instance_id, None)
        if member is not None:
            if member.answer is not None:
                answer, member.answer = member.answer, None
                answer(errors.UnknownMemberIdError())
            self._begin()
            self._complete_if_all()

    def rebalance(self) -> None:
        """Have everybody join again, as a change of the topic does."""
        self._begin()

    def pass_over(self, instance_id: str, *, is_exile: bool = False) -> None:
        """Rebalance soon, without waiting for that member; an exile gets nothing even if it comes."""
        self._is_exile = is_exile
        self._begin()
        self._began_s = min(self._began_s, self._scheduler.now_s - self._rebalance_s + PASSED_OVER_S)
        self._passed_over = instance_id

    def tick(self) -> None:
        """End sessions, and rebalances that take too long."""
        now_s = self._scheduler.now_s
        for member in list(self._members.values()):
            if member.answer is None and now_s - member.seen_s > self._session_s:
                self.remove(member.instance_id)
        if self._phase is Phase.JOINING and now_s - self._began_s > self._rebalance_s:
            self._complete()

    def forgive(self) -> None:
        """Sessions start anew, as after a restart of the broker."""
        for member in self._members.values():
            member.seen_s = self._scheduler.now_s

    def _check(self, member_id: str, instance_id: str) -> Member:
        member = self._members.get(instance_id)
        if member is None:
            raise errors.UnknownMemberIdError
        if member.member_id != member_id:
            raise errors.FencedInstanceIdError
        return member

    def _new_id(self, instance_id: str) -> str:
        return f"{instance_id}-{next(self._numbers)}"

    def _replace(self, member: Member, _: Answer) -> None:
        """A new process of the instance: the old one is fenced, and as long as nothing else changes no one notices."""
        member.member_id = self._new_id(member.instance_id)
        if member.answer is not None:
            fenced, member.answer = member.answer, None
            fenced(errors.FencedInstanceIdError())

    def _begin(self) -> None:
        if self._phase is Phase.STABLE:
            self._phase = Phase.JOINING
            self._began_s = self._scheduler.now_s

    def _complete_if_all(self) -> None:
        if self._phase is Phase.JOINING and all(member.answer is not None for member in self._members.values()):
            self._complete()

    def _complete(self) -> None:
        """The next generation. Static members that did not come keep their place until their session ends."""
        if not any(member.answer is not None for member in self._members.values()):
            if not self._members:
                self._phase = Phase.STABLE
            return
        self.generation += 1
        self.rebalance_count += 1
        self._phase = Phase.STABLE
        self._assign_cooperatively() if self.is_cooperative else self._assign()
        now_s = self._scheduler.now_s
        for member in self._members.values():
            answer, member.answer = member.answer, None
            if answer is not None:
                member.seen_s = now_s
                answer(Joined(self.generation, member.member_id, member.partitions))

    def _assign(self) -> None:
        """Sticky: everybody keeps what it had, up to its share."""
        members = sorted(self._members.values(), key=lambda member: -len(member.partitions))
        if self._rng.random() < SHUFFLED_SHARE:
            self._rng.shuffle(members)
            for member in members:
                member.partitions = frozenset()
        back, self._given_back = self._given_back, {}
        absent = self._members.get(self._passed_over)
        self._passed_over = ""
        if absent is not None and (self._is_exile or absent.answer is None) and len(members) > 1:
            self._given_back = {absent.instance_id: absent.partitions}
            absent.partitions = frozenset()
            members.remove(absent)
        for member in members:
            if member.instance_id in back and member.answer is not None:
                member.partitions |= back[member.instance_id]
                self.on_given_back()
        members.sort(key=lambda member: member.instance_id not in back)
        least, more = divmod(len(self._partitions), len(members))
        left = set(self._partitions)
        shares: dict[str, list[int]] = {}
        for number, member in enumerate(members):
            share = shares[member.instance_id] = sorted(member.partitions & left)[: least + (number < more)]
            left.difference_update(share)
        rest = sorted(left)
        self._rng.shuffle(rest)
        for number, member in enumerate(members):
            share = shares[member.instance_id]
            while rest and len(share) < least + (number < more):
                share.append(rest.pop())
            member.partitions = frozenset(share)

    def _assign_cooperatively(self) -> None:
        """What is claimed stays with a claimant, or is given up to be moved in the next round; the rest is shared."""
        members = sorted(self._members.values(), key=lambda member: member.instance_id)
        most = -(-len(self._partitions) // len(members))
        shares: dict[str, set[int]] = {member.instance_id: set() for member in members}
        for partition in self._partitions:
            claimants = [member for member in members if partition in member.claims]
            if not claimants:
                target = min(members, key=lambda member: len(shares[member.instance_id]))
                shares[target.instance_id].add(partition)
                continue
            chosen = self._rng.choice(claimants)
            if len(shares[chosen.instance_id]) < most:
                shares[chosen.instance_id].add(partition)
        for member in members:
            member.partitions = frozenset(shares[member.instance_id])
