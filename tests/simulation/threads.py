"""What the workers' modules find under the names `threading` and `time`: virtual time, and greenlets for threads."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.simulation.scheduling import JITTER_S, Scheduler, Task

FOREVER_S = 1e9


class Machine:
    """Points the modules at the scheduler of the run under way."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        self.live_metadata: Callable[[], Any] | None = None
        """The group metadata of the calling process's consumer now; for mutations that look it up too late."""
        self.threading = SimpleNamespace(
            Lock=partial(Lock, self),
            Event=partial(Event, self),
            Condition=partial(Condition, self),
            Thread=partial(Thread, self),
            Timer=partial(Timer, self),
            machine=self,
        )
        self.time = SimpleNamespace(monotonic=self.now_s, time=self.now_s, sleep=self._sleep)

    @property
    def now(self) -> Scheduler:
        """The scheduler of the run under way."""
        assert self.scheduler is not None
        return self.scheduler

    def _sleep(self, seconds: float) -> None:
        self.now.sleep(seconds)

    def now_s(self) -> float:
        """Virtual seconds."""
        return self.now.now_s


class Lock:
    """Held by nobody whenever somebody waits: it guards calls of the tracker, which are short."""

    __slots__ = ("_is_held", "_machine")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._is_held = False

    def __enter__(self) -> None:
        if self._is_held and not self._machine.now.current.process.is_dead:
            self._machine.now.fail("a lock was held across a wait")
        self._is_held = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_held = False


class _Waited:
    """What tasks can wait for until it is announced."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._waiters: list[Task] = []

    def _wait_until(self, deadline_s: float) -> None:
        scheduler = self._machine.now
        task = scheduler.current
        self._waiters.append(task)
        try:
            scheduler.block(deadline_s)
        finally:
            if task in self._waiters:
                self._waiters.remove(task)

    def _announce(self) -> None:
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            self._machine.now.wake(task)

    def _deadline_s(self, timeout_s: float | None) -> float:
        return self._machine.now_s() + (FOREVER_S if timeout_s is None else timeout_s)


class Event(_Waited):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._announce()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        # Threads are switched between any two steps, so waiting is a wait even where it need not be.
        if self._is_set or timeout == 0.0:
            self._machine.now.sleep(JITTER_S)
        else:
            self._wait_until(self._deadline_s(timeout))
        return self._is_set


class Condition(_Waited):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def notify_all(self) -> None:
        self._announce()

    def wait_for(self, is_met: Callable[[], bool], timeout: float | None = None) -> bool:
        deadline_s = self._deadline_s(timeout)
        while not is_met():
            if self._machine.now_s() >= deadline_s:
                return False
            self._wait_until(deadline_s)
        return True


class Thread:
    def __init__(self, machine: Machine, *, target: Callable[[], object], name: str, daemon: bool) -> None:
        self._machine = machine
        self._target = target
        self._name = name
        self._task: Task | None = None

    def start(self) -> None:
        scheduler = self._machine.now
        self._task = scheduler.spawn(scheduler.current.process, self._target, self._name)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.is_done

    def join(self, timeout: float | None = None) -> None:
        if not self.is_alive() or self._task is None:
            return
        scheduler = self._machine.now
        self._task.waiters.append(scheduler.current)
        scheduler.block(self._machine.now_s() + (FOREVER_S if timeout is None else timeout))


class Timer:
    def __init__(self, machine: Machine, seconds: float, action: Callable[[], object]) -> None:
        self._machine = machine
        self._seconds = seconds
        self._action = action
        self._cancelled = [False]
        self.daemon = False

    def start(self) -> None:
        scheduler = self._machine.now
        process = scheduler.current.process
        due_s = scheduler.now_s + self._seconds
        self._cancelled = scheduler.call_at(due_s, lambda: scheduler.spawn(process, self._action, "timer"), process)

    def cancel(self) -> None:
        self._cancelled[0] = True
