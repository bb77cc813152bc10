"""A worker after a crash: suspects run one at a time, are cleared when they finish, and run no more after three.

The journal's file is made by hand here; processes that really die are in tests/e2e/test_poison.py.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.plugins.memory_loop import INPUT, OUTPUT, WAIT_S, Desk, Place, Running, World, answer, place_of, running
from tests.plugins.patience import wait_until
from topology.contract.records import OutRecord, Record, Result
from topology.ports import Rest
from workers.development.memory_broker import FAKE_TIME_MS
from workers.settings import LimitSettings
from workers.stream.crash_journal import CrashJournal, Phase, Suspicion
from workers.stream.loop import Loop
from workers.stream.processing import Process
from workers.stream.quarantine import Quarantine

NAME = "slot"
PLACES = 8
LETTERS = "letters"


def crash(directory: Path, *offsets: int, phase: Phase = Phase.PROCESSING) -> None:
    """A process that died while it ran these records of partition 0."""
    journal = CrashJournal.open(directory, NAME, PLACES)
    for offset in offsets:
        journal.start(read(offset), phase)
    assert journal._file is not None
    os.close(journal._file)
    journal._file, journal._memory = None, bytearray(journal._memory)


def read(offset: int) -> Record:
    return Record(topic=INPUT, partition=0, offset=offset, timestamp_ms=FAKE_TIME_MS, key=None, value=b"value")


class Slot:
    """A worker of the slot: its journal, and what it did with suspects besides processing them."""

    def __init__(self, directory: Path) -> None:
        self.journal = CrashJournal.open(directory, NAME, PLACES)
        self.decoded: list[Place] = []
        self.quarantined: list[tuple[Place, int, bool]] = []
        self.quarantine = Quarantine(self.journal, crashes_max=3, decodes=self._decode, answer=self._answer)

    def _decode(self, record: Record) -> None:
        assert self.journal.suspicion(record) is not None
        self.decoded.append(place_of(record))

    def _answer(self, record: Record, crash_count: int, decodes: bool) -> Result:
        self.quarantined.append((place_of(record), crash_count, decodes))
        return self.letter(record)

    @staticmethod
    def letter(record: Record) -> Result:
        letter = OutRecord(topic=LETTERS, key=record.key, value=b"%d" % record.offset)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=(letter,))

    def loop(self, world: World, process: Process, places: int = PLACES) -> Loop:
        return world.loop(process, limits=LimitSettings(in_flight_max=places), quarantine=self.quarantine)


def test_suspects_run_one_at_a_time_and_all_others_beside_them(tmp_path: Path) -> None:
    crash(tmp_path, 0, 2, 4)
    world, desk, slot = World(), Desk((0, 0), (0, 2), (0, 4)), Slot(tmp_path)
    world.send(0, 20)
    with running(slot.loop(world, desk.process)):
        for count, suspect in enumerate([(0, 0), (0, 2), (0, 4)]):
            world.wait_answered(17 + count)
            wait_until(lambda suspect=suspect: suspect in desk.started, WAIT_S)
            assert sum(place in desk.started for place in [(0, 0), (0, 2), (0, 4)]) == count + 1
            desk.release(suspect)
        world.wait_answered(20)
    assert slot.journal.suspect_count == 0
    assert slot.decoded == [(0, 0), (0, 2), (0, 4)]
    assert not slot.quarantined
    assert not list(tmp_path.iterdir()), "nothing is held against anybody"


def test_suspects_hold_no_place_of_others(tmp_path: Path) -> None:
    crash(tmp_path, 0, 1)
    world, desk, slot = World(), Desk((0, 0), (0, 1)), Slot(tmp_path)
    world.send(0, 6)
    with running(slot.loop(world, desk.process, places=2)):
        world.wait_answered(4)
        assert desk.started.count((0, 1)) == 0
        desk.release((0, 0), (0, 1))
        world.wait_answered(6)


@pytest.mark.parametrize("is_suspect", [True, False])
@pytest.mark.parametrize("others", range(4))
def test_what_rested_goes_on_although_nothing_else_happens(tmp_path: Path, others: int, is_suspect: bool) -> None:
    crash(tmp_path, *([others] if is_suspect else []))
    world, slot = World(), Slot(tmp_path)

    async def process(record: Record, rest: Rest) -> Result:
        if record.offset == others:
            await rest(0.2)
        return answer(record)

    world.send(0, others + 1)
    with running(slot.loop(world, process, places=1)):
        world.wait_answered(others + 1)
    assert sorted(world.answered()) == [(0, offset) for offset in range(others + 1)]


def test_after_three_crashes_a_record_is_answered_without_running_and_its_key_goes_on(tmp_path: Path) -> None:
    for _ in range(3):
        crash(tmp_path, 1)
    world, desk, slot = World(), Desk(), Slot(tmp_path)
    world.send(0, 4, key=b"key")
    with running(slot.loop(world, desk.process)):
        wait_until(lambda: world.committed() == 4, WAIT_S)
    assert slot.quarantined == [((0, 1), 3, True)]
    assert desk.started == [(0, 0), (0, 2), (0, 3)]
    assert [record.value for record in world.broker.records(LETTERS)] == [b"1"]


def test_crashes_with_others_count_against_nobody(tmp_path: Path) -> None:
    """Whoever kills processes from outside must not be able to have an event taken out."""
    for _ in range(9):
        crash(tmp_path, 0, 1)
    world, desk, slot = World(), Desk(), Slot(tmp_path)
    assert slot.journal.suspicion(read(0)) == Suspicion(0, Phase.PROCESSING, 9)
    world.send(0, 2)
    with running(slot.loop(world, desk.process)):
        world.wait_answered(2)
    assert not slot.quarantined
    assert slot.journal.suspect_count == 0


def test_a_suspect_of_several_crashes_runs_alone_and_then_the_others_go_on(tmp_path: Path) -> None:
    crash(tmp_path, 2, 7)
    crash(tmp_path, 2, 8)
    world, desk, slot = World(), Desk((0, 1), (0, 2)), Slot(tmp_path)
    assert slot.journal.suspicion(read(2)) == Suspicion(0, Phase.PROCESSING, 2)
    world.send(0, 6)
    with running(slot.loop(world, desk.process)):
        wait_until(lambda: (0, 1) in desk.started, WAIT_S)
        assert (0, 2) not in desk.started, "another one runs"
        desk.release((0, 1))
        wait_until(lambda: (0, 2) in desk.started, WAIT_S)
        before = list(desk.started)
        world.send(0, 3)
        assert desk.started == before, "nothing starts beside it"
        desk.release((0, 2))
        world.wait_answered(9)
    assert slot.journal.suspect_count == 0


def test_a_crash_of_one_that_ran_alone_counts_against_it(tmp_path: Path) -> None:
    crash(tmp_path, 0, 1)
    crash(tmp_path, 0)
    slot = Slot(tmp_path)
    assert slot.journal.suspicion(read(0)) == Suspicion(1, Phase.PROCESSING, 1)
    assert slot.journal.suspicion(read(1)) == Suspicion(0, Phase.PROCESSING, 1)
    slot.journal.close()


def test_two_crashes_are_not_enough(tmp_path: Path) -> None:
    crash(tmp_path, 0)
    crash(tmp_path, 0)
    world, desk, slot = World(), Desk(), Slot(tmp_path)
    world.send(0, 1)
    with running(slot.loop(world, desk.process)):
        world.wait_answered(1)
    assert not slot.quarantined


def test_what_is_in_quarantine_stays_there_until_its_answer_is_committed(tmp_path: Path) -> None:
    """The next suspect may end the process before that."""
    for _ in range(3):
        crash(tmp_path, 0)
    slot = Slot(tmp_path)
    assert slot.quarantine.answer(read(0)) is not None
    assert slot.journal.suspicion(read(0)) == Suspicion(3, Phase.PROCESSING)
    slot.journal.close()
    assert Slot(tmp_path).quarantine.answer(read(0)) is not None


def test_what_crashed_while_it_was_decoded_is_not_decoded_again(tmp_path: Path) -> None:
    crash(tmp_path, 0)
    crash(tmp_path, 0, phase=Phase.DECODING)
    slot = Slot(tmp_path)
    assert slot.quarantine.answer(read(0)) is None
    slot.journal.close()
    crash(tmp_path, 0)
    slot = Slot(tmp_path)
    assert slot.quarantine.answer(read(0)) is not None
    assert not slot.decoded
    assert slot.quarantined == [((0, 0), 3, False)]


def test_a_decoder_or_an_answer_that_raises_ends_in_an_answer_without_decoding(tmp_path: Path) -> None:
    """Such a bug ends the worker in order, and would do so for ever."""

    def broken(record: Record, *_: object) -> Result:
        raise ZeroDivisionError

    def letter_only(record: Record, crash_count: int, decodes: bool) -> Result:
        return broken(record) if decodes else Slot.letter(record)

    for count in (1, 2):
        crash(tmp_path, count)
    crash(tmp_path, 2)
    crash(tmp_path, 2)
    journal = CrashJournal.open(tmp_path, NAME, PLACES)
    quarantine = Quarantine(journal, crashes_max=3, decodes=broken, answer=letter_only)
    for offset in (1, 2):
        with pytest.raises(ZeroDivisionError):
            quarantine.answer(read(offset))
    journal.close()
    journal = CrashJournal.open(tmp_path, NAME, PLACES)
    assert journal.suspicion(read(1)) == Suspicion(2, Phase.DECODING)
    quarantine = Quarantine(journal, crashes_max=3, decodes=broken, answer=letter_only)
    assert quarantine.answer(read(1)) is None
    assert quarantine.answer(read(2)) == Slot.letter(read(2))


def test_a_suspect_that_rests_lets_the_next_one_run(tmp_path: Path) -> None:
    crash(tmp_path, 0, 1)
    world, slot, started, is_up = World(), Slot(tmp_path), list[Place](), asyncio.Event()

    async def process(record: Record, rest: Rest) -> Result:
        started.append(place_of(record))
        while not is_up.is_set():
            await rest(0.01)
        return answer(record)

    world.send(0, 2)
    with running(slot.loop(world, process)):
        wait_until(lambda: len(started) == 2, WAIT_S)
        is_up.set()
        world.wait_answered(2)
    assert slot.journal.suspect_count == 0


def test_what_rests_when_the_process_crashes_is_no_suspect(tmp_path: Path) -> None:
    world, slot, rested = World(), Slot(tmp_path), list[Place]()

    async def process(record: Record, rest: Rest) -> Result:
        if record.offset == 0:
            rested.append(place_of(record))
            await rest(1000)
        else:
            await asyncio.sleep(1000)
        return answer(record)

    world.send(0, 2)
    run = Running(slot.loop(world, process))
    wait_until(lambda: bool(rested) and run.loop.health().held_count == 2, WAIT_S)
    (file,) = tmp_path.iterdir()
    wait_until(lambda: len(marked(file, tmp_path / "copy")) == 1, WAIT_S)
    assert marked(file, tmp_path / "copy") == [1]
    run.drain(0)


def marked(file: Path, directory: Path) -> list[int]:
    """The offsets that the next process would suspect, were this one to crash now."""
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / file.name).write_bytes(file.read_bytes())
    journal = CrashJournal.open(directory, NAME, PLACES)
    found = [offset for offset in range(10) if journal.suspicion(read(offset)) is not None]
    journal.close()
    return found


@pytest.mark.parametrize("times", [1, 4])
def test_a_drain_counts_against_nobody(tmp_path: Path, times: int) -> None:
    world = World()
    world.send(0, 3)
    for _ in range(times):
        desk, slot = Desk((0, 0), (0, 1), (0, 2)), Slot(tmp_path)
        run = Running(slot.loop(World(broker=world.broker), desk.process))
        wait_until(lambda desk=desk: len(desk.started) == 3, WAIT_S)
        run.drain(0)
        assert run.error is None
    assert Slot(tmp_path).journal.suspect_count == 0


def test_a_loop_that_fails_counts_only_against_the_record_that_it_failed_on(tmp_path: Path) -> None:
    """It would otherwise fail on it for ever."""
    world, desk = World(), Desk((0, 0), (0, 2))
    world.send(0, 3)

    async def process(record: Record, rest: Rest) -> Result:
        if record.offset == 1:
            raise ZeroDivisionError
        return await desk.process(record, rest)

    for count in (1, 2, 3):
        slot = Slot(tmp_path)
        run = Running(slot.loop(World(broker=world.broker), process))
        run.wait_ended()
        assert isinstance(run.error, ZeroDivisionError)
        slot = Slot(tmp_path)
        found = [slot.journal.suspicion(read(offset)) for offset in range(3)]
        assert found == [None, Suspicion(count, Phase.PROCESSING), None]
        slot.journal.close()
    desk.release((0, 0), (0, 2))
    slot = Slot(tmp_path)
    with running(slot.loop(World(broker=world.broker), process)):
        wait_until(lambda: world.committed() == 3, WAIT_S)
    assert slot.quarantined == [((0, 1), 3, True)]
    assert sorted(world.answered(OUTPUT)) == [(0, 0), (0, 2)]


def test_a_suspect_whose_partition_went_to_another_member_does_not_run(tmp_path: Path) -> None:
    crash(tmp_path, 0, 1)
    world, desk, slot = World(partitions=1), Desk((0, 0)), Slot(tmp_path)
    world.send(0, 2)
    with running(slot.loop(world, desk.process)):
        wait_until(lambda: desk.started == [(0, 0)], WAIT_S)
        world.broker.expire("group.fake.0")
        wait_until(lambda: len(desk.started) == 2, WAIT_S)
        assert desk.started == [(0, 0), (0, 0)]
        assert desk.cancelled == [(0, 0)]
        desk.release((0, 0))
        world.wait_answered(2)
    assert slot.journal.suspect_count == 0
