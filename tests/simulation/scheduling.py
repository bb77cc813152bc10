"""Virtual time and greenlets in place of threads: one runs at a time, and the seed says which.

Every wait is a place where another one may go on. Greenlets belong to a process, which can be killed or frozen at any
of them; what a killed one still does while it unwinds is seen by nobody.
"""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

JITTER_S = 0.0002
"""Two that could go on at the same moment go on in an order that the seed says."""


SWITCHES_MAX = 60_000
"""Of one run; a tenth is usual. More of them is a thread that never waits."""


class Violation(AssertionError):
    """An invariant does not hold."""


class Process:
    """One operating system process: its greenlets live, freeze and die together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_until_s = 0.0
        self.tasks: list[Task] = []
        self.on_death: list[Callable[[], None]] = []


class Task:
    """A thread: what runs until it waits."""

    __slots__ = ("body", "is_done", "name", "process", "ticket", "waiters")

    def __init__(self, process: Process, body: Any, name: str) -> None:
        self.process = process
        self.body = body
        self.name = name
        self.ticket = 0
        self.is_done = False
        self.waiters: list[Task] = []


class Scheduler:
    """Runs tasks and calls in the order of virtual time."""

    def __init__(self, rng: random.Random) -> None:
        self.now_s = 0.0
        self.switch_count = 0
        self.failure: BaseException | None = None
        self._random = rng.random
        self._heap: list[tuple[float, int, Task | None, Any, Process | None]] = []
        self._numbers = count()
        self._doomed: list[Process] = []
        self._hub = getcurrent()
        self._current: Task | None = None

    @property
    def current(self) -> Task:
        """The task that runs."""
        assert self._current is not None
        return self._current

    def spawn(self, process: Process, target: Callable[[], object], name: str) -> Task:
        """Have `target` run soon, as a thread of `process`."""
        task = Task(process, greenlet(self._body(target), self._hub), name)
        process.tasks.append(task)
        self._push(self.now_s + self._random() * JITTER_S, task, task.ticket, process)
        return task

    def call_at(self, at_s: float, action: Callable[[], object], process: Process | None = None) -> list[bool]:
        """Have `action`, which must not wait, called; later while `process` is frozen, never once it is dead.

        Setting the first item of what is returned calls it off.
        """
        cancelled = [False]
        self._push(at_s, None, (cancelled, action), process)
        return cancelled

    def block(self, until_s: float) -> None:
        """Let others go on until then, or until somebody wakes this task."""
        task = self.current
        if task.process.is_dead:
            raise GreenletExit
        task.ticket += 1
        self._push(until_s, task, task.ticket, task.process)
        self._hub.switch()
        if task.process.is_dead:
            raise GreenletExit

    def sleep(self, seconds: float) -> None:
        """Let others go on for so long."""
        self.block(self.now_s + seconds)

    def wake(self, task: Task) -> None:
        """Have a blocked task go on now."""
        self._push(self.now_s + self._random() * JITTER_S, task, task.ticket, task.process)

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        process.frozen_until_s = max(process.frozen_until_s, self.now_s + seconds)

    def kill(self, process: Process) -> None:
        """SIGKILL: none of its greenlets goes on. From one of them this does not return."""
        if not process.is_dead:
            process.is_dead = True
            self._doomed.append(process)
        if self._current is not None and self._current.process is process:
            raise GreenletExit

    def fail(self, text: str) -> None:
        """An invariant does not hold: end the run, whoever catches what."""
        if self.failure is None:
            self.failure = Violation(text)
        raise self.failure

    def run(self, is_over: Callable[[], bool], until_s: float) -> None:
        """Go on until `is_over` or that time. Raises what broke."""
        heap, pop = self._heap, heapq.heappop
        while heap and self.now_s < until_s and not is_over():
            at_s, _, task, payload, process = pop(heap)
            if process is not None:
                if process.is_dead:
                    continue
                if process.frozen_until_s > at_s:
                    self._push(process.frozen_until_s + self._random() * JITTER_S, task, payload, process)
                    continue
            self.now_s = max(at_s, self.now_s)
            if task is None:
                self._call(payload)
            elif task.ticket == payload:
                self._switch(task)
            if self.failure is not None:
                raise self.failure

    def close(self) -> None:
        """Unwind everything that is left, so that nothing runs when it is collected."""
        for _, _, task, _, _ in self._heap:
            if task is not None and not task.process.is_dead:
                task.process.is_dead = True
                self._doomed.append(task.process)
        self._bury()
        self._heap.clear()

    def _call(self, payload: tuple[list[bool], Callable[[], object]]) -> None:
        cancelled, action = payload
        if not cancelled[0]:
            action()
        if self._doomed:
            self._bury()

    def _switch(self, task: Task) -> None:
        task.ticket += 1
        self.switch_count += 1
        if self.switch_count > SWITCHES_MAX:
            self.failure = Violation("I10: threads that never wait")
            return
        self._current = task
        task.body.switch()
        self._current = None
        if self._doomed:
            self._bury()

    def _bury(self) -> None:
        """Unwind the greenlets of killed processes. All they call is refused or does nothing."""
        while self._doomed:
            process = self._doomed.pop()
            for task in process.tasks:
                self._current = task
                if not task.body.dead:
                    task.body.throw(GreenletExit)
            self._current = None
            for action in process.on_death:
                action()

    def _body(self, target: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            task = self.current
            try:
                target()
            except BaseException as exc:  # noqa: BLE001 - whatever ends a thread unnoticed is a defect
                if not task.process.is_dead and self.failure is None:
                    self.failure = exc
            task.is_done = True
            if not task.process.is_dead:
                for waiter in task.waiters:
                    self.wake(waiter)

        return run

    def _push(self, at_s: float, task: Task | None, payload: Any, process: Process | None) -> None:
        heapq.heappush(self._heap, (at_s, next(self._numbers), task, payload, process))
