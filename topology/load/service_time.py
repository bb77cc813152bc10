"""The time of service of what one thread does, counted so that one without a processor is not stuck. Pure.

Three clocks tell. The thread's own CPU time says how much was done. If neither the thread nor its process has used any
for a while, the thread is blocked, which a mere lack of processors never looks like: then the wait counts too. The wall
clock alone counts at a far lower rate, as the last bound.
"""

from dataclasses import dataclass
from typing import Final

from msgspec import Struct

WALL_SHARE: Final = 1 / 12
"""The share of wall time that always counts: a limit of 5 s is over after a minute, whatever the other clocks say."""

THREAD_PROGRESS_S: Final = 0.001
"""CPU time of the thread that counts as progress; a blocked thread uses none."""

PROCESS_PROGRESS_SHARE: Final = 0.2
"""CPU time of the process, as a share of wall time, that counts as progress: a thread may wait for another one that
works for it. A worker without load takes less."""


class Clocks(Struct, frozen=True, kw_only=True):
    """The readings of three clocks at one moment: wall time, CPU time of the thread, CPU time of the whole process."""

    wall_s: float
    thread_s: float
    process_s: float


@dataclass(slots=True)
class ServiceTime:
    """The time of service since `began`."""

    began: Clocks
    _moved: Clocks | None = None
    """The clocks at the last look that saw progress; None before the first look."""

    def at(self, now: Clocks) -> float:
        """Return the time of service, in seconds; to be asked several times within a limit."""
        self._look(now)
        return max(now.thread_s - self.began.thread_s, self._still_s(now))

    def is_hanging(self, now: Clocks, limit_s: float) -> bool:
        """Return whether the thread is blocked or passed the last bound, rather than merely at work for too long."""
        self._look(now)
        return self._still_s(now) >= limit_s

    def _look(self, now: Clocks) -> None:
        moved = self._moved or self.began
        if (
            now.thread_s - moved.thread_s >= THREAD_PROGRESS_S
            or now.process_s - moved.process_s >= (now.wall_s - moved.wall_s) * PROCESS_PROGRESS_SHARE
        ):
            self._moved = now

    def _still_s(self, now: Clocks) -> float:
        moved = self._moved or self.began
        return max(now.wall_s - moved.wall_s, (now.wall_s - self.began.wall_s) * WALL_SHARE)
