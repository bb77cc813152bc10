"""A producer in a process of its own keeps the Sink's contract, and whatever becomes of that process ends ours."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.checkout import ROOT
from tests.plugins.kafka_broker import Kafka
from tests.plugins.kafka_slot import QUICK, Slot, open_slots
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.processes import children_of
from tests.workers.kafka import test_delivery
from tests.workers.kafka.test_delivery import must_not_exit
from topology.contract.names import CommitReason
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.client import REQUEST_BYTES_MAX
from workers.kafka.errors import KafkaRefused, KafkaUnavailable, OutcomeUnknown, SlotFenced
from workers.kafka.sink import TransactionalSink
from workers.kafka.sink_process import ANSWER_MARGIN_S, CHILD_MODULE, ProcessSink, Start, open_sink
from workers.settings import KafkaSettings
from workers.settings.secret import Secret

pytestmark = pytest.mark.kafka


DYING_WORKER = """
import sys, pickle, time
from workers.kafka.sink_process import ProcessSink
start = pickle.load(sys.stdin.buffer)
print(ProcessSink(start.kafka, start.slot).pid, flush=True)
time.sleep(600)
"""


class TestProcessSink(test_delivery.TestKafka):
    producer_process = True


class ProcessSlot:
    """A slot that has read one record, its producer replaced by one in a process of its own."""

    def __init__(self, slot: Slot, answer_margin_s: float = ANSWER_MARGIN_S, **changed: object) -> None:
        self.slot, self.metrics = slot, Instruments.none()
        slot.sink.close()
        settings = msgspec.structs.replace(slot.settings, **changed)
        self.sink = ProcessSink(
            settings, 0, exit_process=slot.ends, metrics=self.metrics, answer_margin_s=answer_margin_s
        )

    def commit(self) -> bool:
        return self.sink.commit([self.slot.answer()], [self.slot.offset], self.slot.ownership)

    def outcome(self) -> BaseException | bool:
        try:
            return self.commit()
        except OutcomeUnknown as exc:
            return exc

    def counted(self, reason: CommitReason) -> tuple[float, float]:
        failed = self.metrics.value(Metric.COMMIT_FAILURES, reason=reason)
        return failed, self.metrics.value(Metric.TRANSACTION_ABORTS, reason=reason)


@pytest.fixture
def make_slot(kafka: Kafka) -> Generator[Callable[..., ProcessSlot]]:
    made: list[ProcessSlot] = []
    with open_slots(kafka) as make:

        def make_one(answer_margin_s: float = ANSWER_MARGIN_S, **changed: object) -> ProcessSlot:
            made.append(ProcessSlot(make(), answer_margin_s, **changed))
            return made[-1]

        yield make_one
        for one in made:
            one.sink.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_the_other_process_counts_is_counted_here(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot()
    stale = replace(one.slot.ownership, generation=one.slot.ownership.generation + 7)
    assert not one.sink.commit([one.slot.answer(b"stale")], [one.slot.offset], stale)
    assert one.counted(CommitReason.OWNERSHIP_LOST) == (1, 1)
    assert one.commit()
    assert one.counted(CommitReason.OWNERSHIP_LOST) == (1, 1), "once"
    assert (one.slot.visible(), one.slot.committed()) == ([b"A"], 1)


def test_a_slot_that_somebody_took_over_is_said_by_its_name(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot()
    successor = TransactionalSink(one.slot.settings, 0, exit_process=must_not_exit)
    try:
        with pytest.raises(SlotFenced, match=one.slot.settings.group_id):
            one.commit()
        assert one.counted(CommitReason.FENCED)[0] == 1
    finally:
        successor.close()


def test_a_record_that_no_request_holds_is_refused(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot()
    with pytest.raises(KafkaRefused, match="MessageSizeTooLarge"):
        one.sink.commit([one.slot.answer(bytes(REQUEST_BYTES_MAX + 1))], [one.slot.offset], one.slot.ownership)
    assert one.slot.visible() == []


def test_without_brokers_the_start_fails_in_time_and_leaves_no_process() -> None:
    settings = KafkaSettings(bootstrap_servers=("127.0.0.1:1",), group_id="g", connect_timeout_s=1)
    with pytest.raises(KafkaUnavailable):
        ProcessSink(settings, 0, exit_process=must_not_exit)
    assert not [child for child in children_of(os.getpid(), CHILD_MODULE) if is_running(child)]


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_process_that_dies_ends_ours(make_slot: Callable[..., ProcessSlot], is_asked: bool) -> None:
    """Between two rounds, and while one is under way: nobody can tell how far it came."""
    one = make_slot()
    os.kill(one.sink.pid, signal.SIGSTOP if is_asked else signal.SIGKILL)
    outcomes: list[object] = []
    commit = threading.Thread(target=lambda: outcomes.append(one.outcome()))
    commit.start()
    if is_asked:
        commit.join(0.5)
        assert commit.is_alive(), "it waits for an answer"
        os.kill(one.sink.pid, signal.SIGKILL)
    commit.join(PATIENCE_S)
    assert [type(each) for each in outcomes] == [OutcomeUnknown]
    assert one.slot.ends.codes == [70]
    again = TransactionalSink(one.slot.settings, 0, exit_process=must_not_exit)
    again.close()  # it has waited for whatever was left open
    assert (one.slot.visible(), one.slot.committed()) == ([], None)


def test_a_process_that_does_not_answer_is_killed_before_ours_ends(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot(answer_margin_s=0.5, commit_timeout_s=1.0, connect_timeout_s=3.0)
    os.kill(one.sink.pid, signal.SIGSTOP)
    assert isinstance(one.outcome(), OutcomeUnknown)
    assert one.slot.ends.codes[0] == 70
    assert not is_running(one.sink.pid)
    assert one.slot.visible() == []


def test_a_transaction_whose_outcome_is_unknown_ends_both(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot(**{**QUICK, "commit_timeout_s": 1.0})
    one.slot.kafka.broker.pause()
    assert isinstance(one.outcome(), OutcomeUnknown)
    one.slot.kafka.broker.resume()
    assert one.slot.ends.codes == [70]
    assert not is_running(one.sink.pid)


def test_it_ends_when_it_is_closed_and_not_by_what_is_meant_for_the_worker(
    make_slot: Callable[..., ProcessSlot],
) -> None:
    one = make_slot()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(one.sink.pid, number)
    assert one.commit()
    one.sink.close()
    assert not is_running(one.sink.pid)
    assert one.sink._child.exit_code == 0  # pyright: ignore[reportPrivateUsage]


def test_it_does_not_outlive_a_worker_that_is_killed(kafka: Kafka) -> None:
    start = Start(kafka=kafka.settings(), slot=0, log_level="INFO")
    with subprocess.Popen(
        [sys.executable, "-c", DYING_WORKER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(pickle.dumps(start))
        worker.stdin.close()
        pid = int(worker.stdout.readline())
        assert is_running(pid)
        worker.kill()
    wait_until(lambda: not is_running(pid), PATIENCE_S)


def test_secrets_are_on_no_command_line_and_in_no_environment(make_slot: Callable[..., ProcessSlot]) -> None:
    one = make_slot(sasl_password=Secret("hunter2-hunter2"))  # which a listener without SASL does not ask for
    for name in ("cmdline", "environ"):
        assert b"hunter2" not in Path(f"/proc/{one.sink.pid}/{name}").read_bytes()


def test_the_setting_chooses(kafka: Kafka) -> None:
    for is_own, kind in ((False, TransactionalSink), (True, ProcessSink)):
        sink = open_sink(kafka.settings(producer_process=is_own), 0, exit_process=must_not_exit)
        sink.close()
        assert type(sink) is kind


def test_the_first_producer_of_a_slot_has_a_higher_epoch_than_the_last_one_wherever_it_runs(kafka: Kafka) -> None:
    settings, found = kafka.settings(), []
    for is_own in (False, True, True, False):
        sink = open_sink(msgspec.structs.replace(settings, producer_process=is_own), 0, exit_process=must_not_exit)
        found.append(sink.first_identity)
        sink.close()
    (producer_id, first), *later = found
    assert later == [(producer_id, first + count) for count in (1, 2, 3)]
