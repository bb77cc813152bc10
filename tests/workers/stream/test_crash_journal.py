"""The crash journal: what ran when a process died is known to the next one, and nothing in it ever stops work."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.checkout import ROOT
from topology.contract.records import Record
from workers.stream.crash_journal import NOT_MARKED, CrashJournal, Phase, Suspicion, own_directory

NAME = "group.cluster.0"
RUNNING_MAX = 8

DYING = """
import os, sys
from pathlib import Path
from topology.ports import Record
from workers.stream.crash_journal import CrashJournal

directory, how, *offsets = sys.argv[1:]
journal = CrashJournal.open(Path(directory), "group.cluster.0", 8)
for offset in map(int, offsets):
    journal.start(Record(topic="in", partition=1, offset=offset, timestamp_ms=7, key=b"k", value=b"v"))
finished = journal.start(Record(topic="in", partition=1, offset=99, timestamp_ms=7, key=b"k", value=b"v"))
journal.finish(finished)
if how == "on purpose":
    journal.exit_process(70)
os.kill(os.getpid(), int(how))
"""


def record(offset: int, *, topic: str = "in", partition: int = 1, timestamp_ms: int = 7) -> Record:
    return Record(topic=topic, partition=partition, offset=offset, timestamp_ms=timestamp_ms, key=b"k", value=b"v")


def die(directory: Path, how: str, offsets: Sequence[int]) -> int:
    """A process of the slot that runs `offsets` when it ends that way."""
    command = [sys.executable, "-c", DYING, str(directory), how, *map(str, offsets)]
    return subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode


def reopened(directory: Path, running_max: int = RUNNING_MAX) -> CrashJournal:
    return CrashJournal.open(directory, NAME, running_max)


def crashed(journal: CrashJournal) -> None:
    """Lets go of the file as a crash does: nothing is said in it."""
    assert journal._file is not None
    os.close(journal._file)
    journal._file, journal._memory = None, bytearray(journal._memory)


def crash(directory: Path, *offsets: int) -> None:
    """One process that starts `offsets` and crashes."""
    journal = reopened(directory, max(RUNNING_MAX, len(offsets)))
    for offset in offsets:
        journal.start(record(offset))
    crashed(journal)


def counts(journal: CrashJournal, *offsets: int) -> list[int]:
    """The crashes in which each ran, alone or not."""
    found = [journal.suspicion(record(offset)) for offset in offsets]
    return [0 if one is None else one.crash_count + one.together_count for one in found]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_what_ran_in_a_process_that_died_is_known_to_the_next(tmp_path: Path, number: signal.Signals) -> None:
    assert die(tmp_path, str(int(number)), [3, 5]) == -number
    journal = reopened(tmp_path)
    assert counts(journal, 3, 4, 5, 99) == [1, 0, 1, 0]
    assert (journal.suspect_count, journal.new_count) == (2, 2)


def test_a_process_that_ends_on_purpose_leaves_no_suspects(tmp_path: Path) -> None:
    """As the watchdog does it, which ends the process from a thread of its own."""
    assert die(tmp_path, "on purpose", [3]) == 70
    assert reopened(tmp_path).suspect_count == 0


def test_each_crash_counts_for_those_that_ran_in_it(tmp_path: Path) -> None:
    crash(tmp_path, 1, 2)
    crash(tmp_path, 2, 3)
    crash(tmp_path, 2)
    journal = reopened(tmp_path)
    assert counts(journal, 1, 2, 3, 4) == [1, 3, 1, 0]
    assert journal.new_count == 1


def test_only_a_crash_of_one_that_ran_alone_is_held_against_it(tmp_path: Path) -> None:
    crash(tmp_path, 1, 2)
    crash(tmp_path, 2, 3)
    crash(tmp_path, 2)
    journal = reopened(tmp_path)
    found = [journal.suspicion(record(offset)) for offset in (1, 2, 3)]
    assert [(one.crash_count, one.together_count, one.is_probed) for one in found if one] == [
        (0, 1, False),
        (1, 2, True),
        (0, 1, False),
    ]


def test_whoever_finishes_is_above_suspicion(tmp_path: Path) -> None:
    crash(tmp_path, 1, 2)
    journal = reopened(tmp_path)
    journal.finish(journal.start(record(1)))
    journal.stop(journal.start(record(2)))
    crashed(journal)
    assert counts(reopened(tmp_path), 1, 2) == [0, 1]


def test_what_was_blamed_counts_although_the_end_was_on_purpose(tmp_path: Path) -> None:
    journal = reopened(tmp_path)
    journal.start(record(1))
    journal.blame(journal.start(record(2)))
    journal.close()
    assert counts(reopened(tmp_path), 1, 2) == [0, 1]


def test_a_record_is_known_by_topic_partition_offset_and_time(tmp_path: Path) -> None:
    """A topic that was deleted and made anew has other records at the same offsets."""
    crash(tmp_path, 1)
    journal = reopened(tmp_path)
    others = [
        record(1, topic="other"),
        record(1, partition=0),
        record(2),
        record(1, timestamp_ms=8),
    ]
    assert [journal.suspicion(other) for other in others] == [None] * 4
    assert journal.suspicion(replace(record(1), key=None, value=None)) == Suspicion(1, Phase.PROCESSING)


def test_a_crash_while_decoding_stays_known_until_the_decoding_was_survived(tmp_path: Path) -> None:
    journal = reopened(tmp_path)
    journal.start(record(1), Phase.DECODING)
    crashed(journal)
    journal = reopened(tmp_path)
    journal.start(record(1))
    crashed(journal)
    journal = reopened(tmp_path)
    assert journal.suspicion(record(1)) == Suspicion(2, Phase.DECODING)
    journal.survived(journal.start(record(1), Phase.DECODING))
    assert journal.suspicion(record(1)) == Suspicion(2, Phase.PROCESSING)


def test_a_suspect_that_runs_is_not_marked_twice(tmp_path: Path) -> None:
    crash(tmp_path, 1)
    journal = reopened(tmp_path)
    mark = journal.start(record(1))
    assert journal.start(record(1)) == NOT_MARKED
    journal.finish(mark)
    assert journal.suspect_count == 0


def test_a_full_journal_lets_records_run_unmarked(caplog: pytest.LogCaptureFixture) -> None:
    journal = CrashJournal(RUNNING_MAX)
    marks = [journal.start(record(offset)) for offset in range(5000)]
    unmarked = marks.count(NOT_MARKED)
    assert 0 < unmarked < 5000
    assert caplog.text.count("journal full") == 1
    for mark in marks:
        journal.finish(mark)
    assert journal.start(record(1)) != NOT_MARKED


def test_the_file_does_not_grow_and_forgets_the_oldest_suspects(tmp_path: Path) -> None:
    for first in range(0, 4000, 500):
        crash(tmp_path, *range(first, first + 500))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 50_000
    journal = reopened(tmp_path)
    assert counts(journal, 0, 2000, 3000, 3999) == [0, 0, 1, 1]
    assert journal.suspect_count == 1024
    assert journal.start(record(9999)) != NOT_MARKED


def test_another_number_of_places_keeps_what_is_known(tmp_path: Path) -> None:
    crash(tmp_path, 1)
    crashed(reopened(tmp_path, running_max=4000))
    (file,) = tmp_path.iterdir()
    large = file.stat().st_size
    assert counts(reopened(tmp_path, running_max=1), 1) == [1]
    assert file.stat().st_size < large


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: b"something else entirely, and long enough for a header",
        lambda content: content[:-7],
        lambda content: content + b"\0" * 32,
        lambda content: content[:8] + b"\xff" * (len(content) - 8),
        lambda content: content[:32] + b"\xff" * (len(content) - 32),
    ],
    ids=["emptied", "foreign", "cut short", "longer", "all ones", "entries all ones"],
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    crash(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    journal = reopened(tmp_path)
    assert journal.suspect_count == 0
    journal.start(record(2))
    crashed(journal)
    assert counts(reopened(tmp_path), 1, 2) == [0, 1]


def test_two_processes_of_one_slot_do_not_share_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = reopened(tmp_path)
    second = reopened(tmp_path)
    assert "no crash journal" in caplog.text
    second.start(record(1))
    second.close()
    first.start(record(2))
    crashed(first)
    assert counts(reopened(tmp_path), 1, 2) == [0, 1]


def test_who_leaves_nothing_behind_leaves_no_file(tmp_path: Path) -> None:
    journal = reopened(tmp_path)
    assert list(tmp_path.iterdir())
    journal.start(record(1))
    journal.close()
    journal.close()
    assert not list(tmp_path.iterdir())
    crash(tmp_path, 1)
    reopened(tmp_path).close()
    assert counts(reopened(tmp_path), 1) == [1]


def test_a_start_that_waits_for_its_predecessor_gets_a_file_that_stays(tmp_path: Path) -> None:
    first = reopened(tmp_path)
    ender = threading.Timer(0.3, first.close)
    ender.start()
    second = reopened(tmp_path)
    ender.join()
    second.start(record(1))
    crashed(second)
    assert counts(reopened(tmp_path), 1) == [1]


def test_a_directory_that_others_may_write_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes the journal decides which events are withheld."""
    shared = tmp_path / own_directory()
    shared.mkdir()
    shared.chmod(0o770)
    journal = reopened(shared)
    assert "no crash journal" in caplog.text
    assert journal.start(record(1)) != NOT_MARKED
    assert not list(shared.iterdir())


def test_a_directory_that_is_a_link_or_cannot_be_made_is_not_used(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    file = tmp_path / "file"
    file.touch()
    for directory in (link, file, file / "below"):
        assert reopened(directory)._file is None


def test_a_directory_that_is_made_belongs_to_its_user_alone(tmp_path: Path) -> None:
    reopened(tmp_path / own_directory()).close()
    found = (tmp_path / own_directory()).stat()
    assert found.st_mode & 0o777 == 0o700
