"""The load of this machine while the demo waits for answers: its load average, and who used its CPU time.

The figures come from /proc, which only Linux has.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from workers.commands.demo.lateness import MachineLoad

EVERY_S = 2.0
"""The time between two readings. A process that starts and ends between them counts as another's."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal; left out are idle, iowait, and guests, which count as user already."""

ProcessKey = tuple[int, int]
"""A process id, and when the process started: ids are used again."""


class Process(Struct, frozen=True, kw_only=True):
    """A process of this machine, with the CPU time it has used."""

    parent_id: int
    key: ProcessKey
    used_s: float


class Reading(Struct, frozen=True, kw_only=True):
    """The machine at one moment. `busy_s` is the CPU time used since it started, `own_s` that of each own process."""

    at_s: float
    load_average: float
    busy_s: float
    own_s: Mapping[ProcessKey, float]


class LoadMeter:
    """The load over the stretches of time that were watched, from readings at most every EVERY_S.

    `start` begins a stretch; what happens between two stretches is left out.
    """

    def __init__(self, read: Callable[[], Reading], cores: int) -> None:
        self._read = read
        self._cores = cores
        self._last: Reading | None = None
        self._averages: list[float] = []
        self._elapsed_s = 0.0
        self._others_s = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._last = self._read()

    def look(self, now_s: float) -> None:
        """Take a reading if one is due."""
        assert self._last is not None, "start comes first"
        if now_s - self._last.at_s < EVERY_S:
            return
        before, now = self._last, self._read()
        own_s = sum(used_s - before.own_s.get(key, 0.0) for key, used_s in now.own_s.items())
        self._averages.append(now.load_average)
        self._elapsed_s += now.at_s - before.at_s
        self._others_s += max(0.0, now.busy_s - before.busy_s - own_s)
        self._last = now

    def load(self) -> MachineLoad:
        """Return the load so far; all 0 before the first reading was due."""
        available_s = self._elapsed_s * self._cores
        return MachineLoad(
            cores=self._cores,
            average=sum(self._averages) / len(self._averages) if self._averages else 0.0,
            others_share=min(1.0, self._others_s / available_s) if available_s else 0.0,
        )


def machine_meter() -> LoadMeter:
    """Return a meter of this machine, whose own processes are this one and all that descend from it."""
    return LoadMeter(_read_machine, os.cpu_count() or 1)


def _read_machine() -> Reading:
    cpu = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    processes = [process for path in Path("/proc").glob("[0-9]*/stat") if (process := _process_at(path))]
    return Reading(
        at_s=time.monotonic(),
        load_average=os.getloadavg()[0],
        busy_s=busy_s_of(cpu),
        own_s={process.key: process.used_s for process in family_of(os.getpid(), processes)},
    )


def _process_at(path: Path) -> Process | None:
    """Read one process; None if it has ended."""
    try:
        return process_of(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def busy_s_of(cpu: str) -> float:
    """Return the CPU time that the line `cpu` of /proc/stat says was used, in seconds."""
    ticks = [int(field) for field in cpu.split()[1:]]
    return sum(ticks[index] for index in _BUSY_FIELDS) / _TICKS_PER_S


def process_of(stat: str) -> Process:
    """Read /proc/<id>/stat. The name, in parentheses, may hold anything; fields are counted from behind it."""
    process_id = int(stat.partition(" ")[0])
    fields = stat.rpartition(")")[2].split()
    return Process(
        parent_id=int(fields[1]),
        key=(process_id, int(fields[19])),
        used_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
    )


def family_of(root_id: int, processes: list[Process]) -> list[Process]:
    """Return the process `root_id` and its descendants."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent_id, []).append(process)
    found = [process for process in processes if process.key[0] == root_id]
    for process in found:  # grows while it is walked
        found.extend(children.get(process.key[0], ()))
    return found
