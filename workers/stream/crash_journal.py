"""The crash journal: a small file that tells which records were running when the process died.

Each running record has a mark in a file that is mapped into memory; the mark is wiped when the record ends. The pages
belong to the kernel, so they survive whatever ends the process: a segmentation fault, the out-of-memory killer,
`kill -9`. The next process of the slot finds the marks, and has a list of suspects. A crash counts against a record if
it ran alone. Several records are noted as having been together, because most of them are innocent, or all of them if
somebody else killed the process. A process that ends on purpose says so in the file; then only the records that it
blamed are counted. The journal never stops or blocks work: without a usable file it is kept in memory, and forgets.

A mark is written before its state, which is one byte, so a process that dies between the two leaves no half mark.
Measured: 0.5 us a record, from looking for it among the suspects to wiping its mark.
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
"""The mark of a record that runs without one, because the journal is full."""

KEPT_MIN = 1024
"""The smallest number of suspects that are remembered. It is larger if more records may run at once."""

LOCK_WAIT_S = 2.0
"""Longest wait for a predecessor that is still ending."""

LOCK_LOOK_S = 0.05

PROBED_FROM = 2
"""Crashes together with others after which a record runs alone. Suspects run one at a time, so few get that far."""

_MAGIC = b"sgcrash2"
_HEADER = struct.Struct("<8sIIB")
"""Magic, number of entries, number of the opening, whether the process ended on purpose."""
_ENTRIES_AT = 32
_ENDED_AT = _HEADER.size - 1
_ENTRY = struct.Struct("<BBBBIIIqq")
"""State, crashes alone, phase, crashes with others, topic's checksum, partition, opening, offset, timestamp."""
_FACTS = struct.Struct("<BBBIIIqq")
"""An entry without its state, which is written last."""
_ENTRIES_MAX = 1 << 16
"""Entries of the longest file that is accepted; 2 MiB."""
_CRASHES_MAX = 255


class _State(IntEnum):
    FREE = 0
    KEPT = 1
    """A suspect that does not run now."""
    RUNNING = 2
    BLAMED = 3
    """It ended the process by itself: it counts however the process ended."""


class Phase(IntEnum):
    """The work that a record is marked for."""

    PROCESSING = 0
    DECODING = 1
    """Its decoding, or an answer that needs nothing beyond it."""


class Suspicion(Struct, frozen=True):
    """The crashes in which a record was running alone, its phase in the last one, and those with others beside it."""

    crash_count: int
    phase: Phase
    together_count: int = 0

    @property
    def is_probed(self) -> bool:
        """Return whether it has to run alone from now on, so that a further crash tells whether it is the cause."""
        return self.together_count >= PROBED_FROM


_Key = tuple[int, int, int, int]
"""Topic's checksum, partition, offset, timestamp. The offset alone would also match a record of a topic that was
deleted and created again."""


class _Kept(Struct, frozen=True):
    key: _Key
    crash_count: int
    phase: Phase
    opening: int
    together_count: int


class CrashJournal:
    """The journal of one worker. Belongs to one thread, except for `end` and `exit_process`."""

    def __init__(self, running_max: int) -> None:
        """Keep the journal in memory: it knows no suspects, and its marks are lost with the process."""
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
        """Records that were running when the previous process crashed."""
        self._lay_out(running_max, [])

    @classmethod
    def open(cls, directory: Path, name: str, running_max: int) -> "CrashJournal":
        """Open the journal `name` in `directory`, which is made if it is missing; `running_max` records run at once.

        If the file cannot be used, because another process has it or the directory is not this user's alone, that is
        logged, and the journal is kept in memory. Waits at most LOCK_WAIT_S for another process.
        """
        journal, path = cls(running_max), directory / f"{name}.crashes"
        try:
            file = _locked(directory, path)
            try:
                journal._take_over(file, name, running_max)
            except OSError:
                os.close(file)
                raise
        except OSError as exc:
            logger.warning(
                "no crash journal: a crash of this process will not be remembered",
                extra={"journal": name, "error": type(exc).__name__, "errno": exc.errno},
            )
            return cls(running_max)
        journal._path = path
        return journal

    @property
    def suspect_count(self) -> int:
        """Return how many records were running in a crash and have not finished since."""
        return len(self._suspects)

    def suspicion(self, record: Record) -> Suspicion | None:
        """Return what counts against `record`; None if it was running in no crash."""
        if not self._suspects or (at := self._suspects.get(self._key(record))) is None:
            return None
        return Suspicion(self._memory[at + 1], Phase(self._memory[at + 2]), self._memory[at + 3])

    def start(self, record: Record, phase: Phase = Phase.PROCESSING) -> int:
        """Mark `record` as running. Return the mark, which must be stopped, finished or blamed, exactly once.

        If the decoding of a suspect is suspected, it stays so whatever the phase.
        """
        key = self._key(record)
        memory = self._memory
        if self._suspects and (at := self._suspects.get(key)) is not None:
            if memory[at] == _State.RUNNING:
                return NOT_MARKED
            memory[at + 2] |= phase
        elif self._free:
            at = self._free.pop()
            _FACTS.pack_into(memory, at + 1, 0, phase, 0, key[0], key[1], self._opening, key[2], key[3])
        else:
            if not self._is_full:
                self._is_full = True
                logger.warning("crash journal full: records run unmarked")
            return NOT_MARKED
        memory[at] = _State.RUNNING
        return at

    def stop(self, mark: int) -> None:
        """Note that the record no longer runs but has not finished: its crashes still count against it."""
        if mark == NOT_MARKED:
            return
        if self._is_suspect(mark):
            self._memory[mark] = _State.KEPT
        else:
            self._memory[mark] = _State.FREE
            self._free.append(mark)

    def survived(self, mark: int) -> None:
        """Stop the mark, and no longer suspect the record's decoding."""
        if mark != NOT_MARKED:
            self._memory[mark + 2] = Phase.PROCESSING
            self.stop(mark)

    def finish(self, mark: int) -> None:
        """Note that the record has finished: nothing counts against it any more."""
        if mark == NOT_MARKED:
            return
        if self._is_suspect(mark):
            del self._suspects[self._key_at(mark)]
        self._memory[mark] = _State.FREE
        self._free.append(mark)

    def blame(self, mark: int) -> None:
        """Note that the record is about to end the process, on purpose or not: that counts as one more crash."""
        if mark != NOT_MARKED:
            self._memory[mark] = _State.BLAMED
            self._is_blaming = True

    def end(self) -> None:
        """Note that the process ends on purpose: what runs now is not counted. From any thread."""
        self._memory[_ENDED_AT] = 1

    def exit_process(self, code: int) -> NoReturn:
        """End the process on purpose: what runs now is not counted. From any thread."""
        self.end()
        os._exit(code)

    def close(self) -> None:
        """Note the end as `end` does, and release the file. It is removed if nothing counts against any record."""
        self.end()
        if self._file is not None:
            if not self._suspects and not self._is_blaming:
                self._path.unlink(missing_ok=True)
            self._memory = bytearray(self._memory)  # replaced, not closed: `end` may be called at this moment
            os.close(self._file)
            self._file = None

    def _key(self, record: Record) -> _Key:
        topic = self._topics.get(record.topic)
        if topic is None:
            topic = self._topics[record.topic] = zlib.crc32(record.topic.encode())
        return topic, record.partition, record.offset, record.timestamp_ms

    def _is_suspect(self, at: int) -> bool:
        return bool(self._memory[at + 1] or self._memory[at + 3])

    def _key_at(self, at: int) -> _Key:
        _, _, _, _, topic, partition, _, offset, timestamp_ms = _ENTRY.unpack_from(self._memory, at)
        return topic, partition, offset, timestamp_ms

    def _take_over(self, file: int, name: str, running_max: int) -> None:
        """Count what the file's last process left running, and write the file anew with the suspects."""
        content = os.pread(file, _ENTRIES_AT + _ENTRIES_MAX * _ENTRY.size, 0)
        opening, found = _read(content)
        if content and not opening:
            logger.warning(
                "crash journal damaged: starting an empty one", extra={"journal": name, "size": len(content)}
            )
        self._opening = opening + 1
        self._lay_out(running_max, found)
        self.new_count = len({kept.key for kept in found if kept.opening == opening})
        # Written before it is mapped: a full disk is an error here, and would be a fatal signal in the mapping.
        os.pwrite(file, self._memory, 0)
        os.ftruncate(file, len(self._memory))
        self._memory = mmap.mmap(file, len(self._memory))
        self._file = file
        if self.new_count:
            counts = {"suspect_count": self.suspect_count, "new_count": self.new_count}
            logger.warning("records were running when their process crashed", extra={"journal": name, **counts})

    def _lay_out(self, running_max: int, found: list[_Kept]) -> None:
        """Set up memory for `running_max` records and the suspects in `found`; the oldest may be forgotten."""
        kept_max = max(KEPT_MIN, running_max)
        entry_count = min(_ENTRIES_MAX, running_max + kept_max)
        once = {
            kept.key: kept
            for kept in sorted(found, key=lambda kept: (kept.opening, kept.crash_count + kept.together_count))
        }
        found = list(once.values())[-kept_max:]
        memory = bytearray(_ENTRIES_AT + entry_count * _ENTRY.size)
        _HEADER.pack_into(memory, 0, _MAGIC, entry_count, self._opening, 0)
        places = range(_ENTRIES_AT, len(memory), _ENTRY.size)
        for at, kept in zip(places, found, strict=False):
            topic, partition, offset, timestamp_ms = kept.key
            counts = (kept.crash_count, kept.phase, kept.together_count)
            _ENTRY.pack_into(memory, at, _State.KEPT, *counts, topic, partition, kept.opening, offset, timestamp_ms)
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
    """Return the name of this user's directory for journals, inside a directory that others may share."""
    return f"sluicegate-{os.getuid()}"


def _read(content: bytes) -> tuple[int, list[_Kept]]:
    """Return the number of a file's opening, 0 if it is no journal, and its suspects, those of this crash included."""
    if len(content) < _ENTRIES_AT:
        return 0, []
    magic, entry_count, opening, is_ended = _HEADER.unpack_from(content)
    if magic != _MAGIC or not opening or len(content) != _ENTRIES_AT + entry_count * _ENTRY.size:
        return 0, []
    return opening, list(_entries(content, opening, is_ended=bool(is_ended)))


def _entries(content: bytes, opening: int, *, is_ended: bool) -> Iterator[_Kept]:
    entries = list(_ENTRY.iter_unpack(content[_ENTRIES_AT:]))
    is_alone = sum(entry[0] in {_State.RUNNING, _State.BLAMED} for entry in entries) == 1
    for state, crashes, phase, together, *key, seen, offset, timestamp_ms in entries:
        ran = state == _State.RUNNING and not is_ended
        is_against = state == _State.BLAMED or (ran and is_alone)
        crash_count = min(_CRASHES_MAX, crashes + is_against)
        together_count = min(_CRASHES_MAX, together + (ran and not is_alone))
        if state in _STATES and (crash_count or together_count) and phase in _PHASES:
            last = opening if ran or is_against else min(seen, opening - 1)
            place = (key[0], key[1], offset, timestamp_ms)
            yield _Kept(place, crash_count, Phase(phase), last, together_count)


_STATES = frozenset({_State.KEPT, _State.RUNNING, _State.BLAMED})
_PHASES = frozenset(Phase)


def _locked(directory: Path, path: Path) -> int:
    """Open a file that is this user's alone, locked for as long as it stays open. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        # Anyone who may write to it could have any record withheld.
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
