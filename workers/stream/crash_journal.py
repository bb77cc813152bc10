"""Which records were running when the process died: a small file that outlives it.

Each record that runs is marked in a file mapped into memory, and its mark is wiped when it ends. The pages are the
kernel's, so they survive whatever ends the process: a segmentation fault, the out-of-memory killer, `kill -9`. The next
process of the slot finds the marks, counts one more crash for each, and has a list of suspects. A process that ends on
purpose says so, and then nothing is counted but what it blamed. Nothing here ever stops or blocks work: without a
usable file the journal is kept in memory, and forgets.

A mark is written before its state, one byte, so a process that dies between the two leaves no half of it. Measured:
0.5 us a record, from the look at who is suspected to the wiped mark.
"""

import fcntl
import logging
import mmap
import os
import stat
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from topology.contract.records import Record
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.client import slot_name
from workers.settings import Settings

logger = logging.getLogger("sluicegate.crash_journal")

NOT_MARKED = -1
"""Instead of a mark where the journal is full: the record runs all the same."""

KEPT_MIN = 1024
"""How many suspects are remembered at least; as many as may run at once, where that is more."""

LOCK_WAIT_S = 2.0
"""How long a start waits for a predecessor that is being torn down."""

LOCK_LOOK_S = 0.05

_MAGIC = b"sgcrash1"
_HEADER = struct.Struct("<8sIIB")
"""Magic, number of entries, how manieth opening, whether the process ended on purpose."""
_ENTRIES_AT = 32
_ENDED_AT = _HEADER.size - 1
_ENTRY = struct.Struct("<BBBxIIIqq")
"""State, crashes, phase, topic's checksum, partition, opening, offset, timestamp."""
_FACTS = struct.Struct("<BBxIIIqq")
"""An entry without its state, which is written last."""
_ENTRIES_MAX = 1 << 16
"""Longest file that is believed; 2 MiB."""
_CRASHES_MAX = 255


class _State(IntEnum):
    FREE = 0
    KEPT = 1
    """A suspect that does not run now."""
    RUNNING = 2
    BLAMED = 3
    """It ended the process by itself: counts however the process ended."""


class Phase(IntEnum):
    """What was done with a record when it was marked."""

    PROCESSING = 0
    DECODING = 1
    """Nothing but its decoding, and an answer that needs no more."""


class Suspicion(Struct, frozen=True):
    """How many crashes a record was running in, and in which phase in the last."""

    crash_count: int
    phase: Phase


_Key = tuple[int, int, int, int]
"""Topic's checksum, partition, offset, timestamp: the offset alone would also name the records of a topic made anew."""


class _Kept(Struct, frozen=True):
    key: _Key
    crash_count: int
    phase: Phase
    opening: int


class CrashJournal:
    """The journal of one worker. Belongs to one thread, but for `end`."""

    def __init__(self, running_max: int) -> None:
        """Kept in memory: it knows no suspects, and whatever is marked is forgotten with the process."""
        self._file: int | None = None
        self._path = Path()
        self._memory: mmap.mmap | bytearray = bytearray()
        self._topics: dict[str, int] = {}
        self._suspects: dict[_Key, int] = {}
        self._free: list[int] = []
        self._opening = 0
        self._is_full = False
        self._is_blaming = False
        self.new_count = 0
        """Records that ran in the process before this one when it crashed."""
        self._lay_out(running_max, [])

    @classmethod
    def open(cls, directory: Path, name: str, running_max: int) -> "CrashJournal":
        """The journal `name` of `directory`, which is made where it is missing; `running_max` records run at once.

        Where the file cannot be used, because another process has it or the directory is not ours alone, that is
        logged, and the journal is kept in memory. Waits for another process LOCK_WAIT_S at most.
        """
        journal = cls(running_max)
        try:
            file = _locked(directory, directory / f"{name}.crashes")
        except OSError as exc:
            logger.warning("no crash journal", extra={"journal": name, "error": type(exc).__name__, "errno": exc.errno})
            return journal
        try:
            journal._take_over(file, name, running_max)
        except OSError as exc:
            os.close(file)
            logger.warning("no crash journal", extra={"journal": name, "error": type(exc).__name__, "errno": exc.errno})
            return cls(running_max)
        journal._path = directory / f"{name}.crashes"
        return journal

    @property
    def suspect_count(self) -> int:
        """Records that ran in a crash, and have not finished since."""
        return len(self._suspects)

    def suspicion(self, record: Record) -> Suspicion | None:
        """What is held against `record`; None where it ran in no crash."""
        if not self._suspects or (at := self._suspects.get(self._key(record))) is None:
            return None
        return Suspicion(self._memory[at + 1], Phase(self._memory[at + 2]))

    def start(self, record: Record, phase: Phase = Phase.PROCESSING) -> int:
        """Mark `record` as running; returns the mark, which is to be stopped, finished or blamed, once.

        A suspect whose decoding is suspected stays that, whatever the phase.
        """
        key = self._key(record)
        memory = self._memory
        if self._suspects and (at := self._suspects.get(key)) is not None:
            if memory[at] == _State.RUNNING:
                return NOT_MARKED
            memory[at + 2] |= phase
        elif self._free:
            at = self._free.pop()
            _FACTS.pack_into(memory, at + 1, 0, phase, key[0], key[1], self._opening, key[2], key[3])
        else:
            if not self._is_full:
                self._is_full = True
                logger.warning("crash journal full: records run unmarked")
            return NOT_MARKED
        memory[at] = _State.RUNNING
        return at

    def stop(self, mark: int) -> None:
        """The record does not run now and has not finished: what was held against it stays."""
        if mark == NOT_MARKED:
            return
        if self._memory[mark + 1]:
            self._memory[mark] = _State.KEPT
        else:
            self._memory[mark] = _State.FREE
            self._free.append(mark)

    def survived(self, mark: int) -> None:
        """As `stop`, and its decoding is suspected no more."""
        if mark != NOT_MARKED:
            self._memory[mark + 2] = Phase.PROCESSING
            self.stop(mark)

    def finish(self, mark: int) -> None:
        """The record has finished: nothing is held against it any more."""
        if mark == NOT_MARKED:
            return
        if self._memory[mark + 1]:
            del self._suspects[self._key_at(mark)]
        self._memory[mark] = _State.FREE
        self._free.append(mark)

    def blame(self, mark: int) -> None:
        """The record is about to end the process, on purpose or not: it counts as one more crash of it."""
        if mark != NOT_MARKED:
            self._memory[mark] = _State.BLAMED
            self._is_blaming = True

    def end(self) -> None:
        """The process ends on purpose: what runs now is not counted. From any thread."""
        self._memory[_ENDED_AT] = 1

    def exit_process(self, code: int) -> NoReturn:
        """End the process on purpose, so that no record that runs now is counted."""
        self.end()
        os._exit(code)

    def close(self) -> None:
        """As `end`, and let go of the file, which is removed where nothing is held against anybody."""
        self.end()
        if self._file is not None:
            if not self._suspects and not self._is_blaming:
                self._path.unlink(missing_ok=True)
            self._memory = bytearray(self._memory)  # not closed but let go of: `end` may be called at this moment
            os.close(self._file)
            self._file = None

    def _key(self, record: Record) -> _Key:
        topic = self._topics.get(record.topic)
        if topic is None:
            topic = self._topics[record.topic] = zlib.crc32(record.topic.encode())
        return topic, record.partition, record.offset, record.timestamp_ms

    def _key_at(self, at: int) -> _Key:
        _, _, _, topic, partition, _, offset, timestamp_ms = _ENTRY.unpack_from(self._memory, at)
        return topic, partition, offset, timestamp_ms

    def _take_over(self, file: int, name: str, running_max: int) -> None:
        """Count what the file's last process left running, and begin it anew with what is held against whom."""
        content = os.pread(file, _ENTRIES_AT + _ENTRIES_MAX * _ENTRY.size, 0)
        opening, found = _read(content)
        if content and not opening:
            logger.warning("crash journal damaged: begun anew", extra={"journal": name, "size": len(content)})
        self._opening = opening + 1
        self._lay_out(running_max, found)
        self.new_count = len({kept.key for kept in found if kept.opening == opening})
        # Written, not only mapped: a full disk is an error here, and would be a fatal signal in the mapping.
        os.pwrite(file, self._memory, 0)
        os.ftruncate(file, len(self._memory))
        self._memory = mmap.mmap(file, len(self._memory))
        self._file = file
        if self.new_count:
            counts = {"suspect_count": self.suspect_count, "new_count": self.new_count}
            logger.warning("records were running when their process crashed", extra={"journal": name, **counts})

    def _lay_out(self, running_max: int, found: list[_Kept]) -> None:
        """Memory for `running_max` records and the suspects among `found`, of which the oldest may be forgotten."""
        kept_max = max(KEPT_MIN, running_max)
        entry_count = min(_ENTRIES_MAX, running_max + kept_max)
        once = {kept.key: kept for kept in sorted(found, key=lambda kept: (kept.opening, kept.crash_count))}
        found = list(once.values())[-kept_max:]
        memory = bytearray(_ENTRIES_AT + entry_count * _ENTRY.size)
        _HEADER.pack_into(memory, 0, _MAGIC, entry_count, self._opening, 0)
        places = range(_ENTRIES_AT, len(memory), _ENTRY.size)
        for at, kept in zip(places, found, strict=False):
            topic, partition, offset, timestamp_ms = kept.key
            facts = (kept.crash_count, kept.phase, topic, partition, kept.opening, offset, timestamp_ms)
            _ENTRY.pack_into(memory, at, _State.KEPT, *facts)
            self._suspects[kept.key] = at
        self._memory = memory
        self._free = list(places)[len(found) :]


def open_journal(settings: Settings, slot: int, metrics: Instruments) -> CrashJournal:
    """Return the journal of `slot`, and count the records that ran in its last process when it crashed."""
    limits = settings.limits
    parent = Path(limits.crash_journal_directory or tempfile.gettempdir())
    journal = CrashJournal.open(parent / own_directory(), slot_name(settings.kafka, slot), limits.in_flight_max)
    metrics.count(Metric.SUSPECTS, journal.new_count)
    return journal


def own_directory() -> str:
    """The name of this user's directory for journals, below one that others may share."""
    return f"sluicegate-{os.getuid()}"


def _read(content: bytes) -> tuple[int, list[_Kept]]:
    """How manieth opening a file was of, 0 where it is none, and what it holds against whom, this crash included."""
    if len(content) < _ENTRIES_AT:
        return 0, []
    magic, entry_count, opening, is_ended = _HEADER.unpack_from(content)
    if magic != _MAGIC or not opening or len(content) != _ENTRIES_AT + entry_count * _ENTRY.size:
        return 0, []
    return opening, list(_entries(content, opening, is_ended=bool(is_ended)))


def _entries(content: bytes, opening: int, *, is_ended: bool) -> Iterator[_Kept]:
    for state, crashes, phase, *key, seen, offset, timestamp_ms in _ENTRY.iter_unpack(content[_ENTRIES_AT:]):
        is_counted = state == _State.BLAMED or (state == _State.RUNNING and not is_ended)
        crash_count = min(_CRASHES_MAX, crashes + is_counted)
        if state in _STATES and crash_count and phase in _PHASES:
            last = opening if is_counted else min(seen, opening - 1)
            yield _Kept((key[0], key[1], offset, timestamp_ms), crash_count, Phase(phase), last)


_STATES = frozenset({_State.KEPT, _State.RUNNING, _State.BLAMED})
_PHASES = frozenset(Phase)


def _locked(directory: Path, path: Path) -> int:
    """A file of ours alone, open and locked for as long as it stays open. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        # Whoever may write it could have any record withheld.
        raise PermissionError("the directory is not this user's alone")
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            if time.monotonic() >= until_s:
                raise
            time.sleep(LOCK_LOOK_S)
            continue
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # its last owner has just removed it
