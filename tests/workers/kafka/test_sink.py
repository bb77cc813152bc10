"""The transactional sink on a real broker that misbehaves: all or nothing, or the process ends."""

import threading
from collections.abc import Callable, Generator

import pytest
from msgspec.structs import replace

from tests.contracts.delivery import read, settle
from tests.plugins.kafka_broker import Kafka
from tests.plugins.kafka_slot import QUICK, Slot, frozen, open_slots
from tests.plugins.patience import PATIENCE_S, wait_until
from workers.kafka.client import REQUEST_BYTES_MAX
from workers.kafka.errors import KafkaRefused, OutcomeUnknown, RecordTooLarge
from workers.kafka.sink import TransactionalSink
from workers.kafka.sink_process import open_sink
from workers.kafka.source import KafkaSource

pytestmark = pytest.mark.kafka


@pytest.fixture
def make_slot(kafka: Kafka) -> Generator[Callable[..., Slot]]:
    with open_slots(kafka) as make:
        yield make


def test_headers_and_content_arrive_as_they_were_given(make_slot: Callable[..., Slot]) -> None:
    slot = make_slot()
    headers = (("sluicegate-schema", b"audited-response/1"), ("bytes", bytes(range(256))))
    assert slot.commit(slot.answer("ответ 🌊".encode(), headers))
    source = KafkaSource(slot.kafka.settings(), slot.output, 0)
    (record,) = read(source, 1)
    source.close()
    assert (record.key, record.value, record.headers) == (b"key", "ответ 🌊".encode(), headers)


def test_an_aborted_transaction_is_seen_only_by_those_who_read_uncommitted(make_slot: Callable[..., Slot]) -> None:
    slot = make_slot()
    stale = replace(slot.ownership, generation=slot.ownership.generation + 7)
    assert not slot.sink.commit([slot.answer(b"stale")], [slot.offset], stale)
    assert slot.visible() == []
    assert slot.kafka.values(slot.output, isolation="read_uncommitted") == [b"stale"]


def test_a_record_that_expires_inside_a_transaction_is_no_success(make_slot: Callable[..., Slot]) -> None:
    """K1: the library commits such a transaction without its record."""
    slot = make_slot(**QUICK)
    with frozen(slot.kafka):
        outcome: list[bool] = []
        thread = threading.Thread(target=lambda: outcome.append(slot.commit()))
        thread.start()
        # Records expire after 1.5 s; then the sink waits for the broker to build a new producer.
        thread.join(4)
    thread.join(PATIENCE_S)
    assert outcome == [False]
    assert slot.ends.codes == []
    assert (slot.visible(), slot.committed()) == ([], None)
    slot.ownership = settle(slot.source)
    assert slot.commit(slot.answer(b"again"))
    assert (slot.visible(), slot.committed()) == ([b"again"], 1)


def test_a_commit_without_an_answer_ends_the_process(make_slot: Callable[..., Slot]) -> None:
    """K4: the library waits for ever; K5's counterpart, an unknown outcome, is nobody's to guess."""
    slot = make_slot(commit_timeout_s=3.0)
    raised: list[BaseException] = []

    def commit() -> None:
        try:
            # Longer than the watchdog: the broker freezes before the records are acknowledged.
            slot.commit()
        except OutcomeUnknown as exc:
            raised.append(exc)

    with frozen(slot.kafka):
        thread = threading.Thread(target=commit)
        thread.start()
        assert slot.ends.asked.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert slot.ends.codes == [70]
    assert [type(error) for error in raised] == [OutcomeUnknown]


def test_what_a_dead_process_left_open_is_invisible_once_its_slot_is_taken(make_slot: Callable[..., Slot]) -> None:
    slot = make_slot()
    producer = slot.sink._producer._producer  # pyright: ignore[reportPrivateUsage]
    producer.begin_transaction()
    producer.send(slot.output, value=b"left open", key=b"key").get(timeout=PATIENCE_S)
    again = TransactionalSink(slot.settings, 0, exit_process=slot.ends)
    try:
        assert again.commit([slot.answer()], [slot.offset], slot.ownership)
        assert slot.visible() == [b"A"]
    finally:
        again.close()


def test_a_record_too_long_for_the_client_ends_the_worker_with_a_reason(make_slot: Callable[..., Slot]) -> None:
    slot = make_slot()
    with pytest.raises(KafkaRefused, match="MessageSizeTooLarge") as caught:
        slot.commit(slot.answer(b"x" * (REQUEST_BYTES_MAX + 1)))
    assert "xxx" not in str(caught.value)
    assert slot.visible() == []


@pytest.mark.parametrize("changed", [{}, {"producer_process": True}], ids=["this process", "another"])
def test_a_record_too_long_for_its_topic_is_named_and_the_sink_goes_on(
    make_slot: Callable[..., Slot], changed: dict[str, object]
) -> None:
    slot = make_slot()
    small = slot.kafka.topic(configs={"max.message.bytes": "12000"})
    sink = open_sink(replace(slot.settings, **changed), 0, exit_process=slot.ends)
    good, bad = slot.answer(), replace(slot.answer(b"x" * 26_000), topic=small)
    try:
        with pytest.raises(RecordTooLarge, match=f"26000 bytes are too many for {small}") as caught:
            sink.commit([good, bad, good], [slot.offset], slot.ownership)
        assert caught.value.index == 1
        with pytest.raises(RecordTooLarge, match=f"26000 bytes are too many for {small}") as caught:
            sink.commit([good, bad, replace(good, topic=small)], [slot.offset], slot.ownership)
        assert caught.value.index is None
        assert slot.visible() == []
        assert sink.commit([good], [slot.offset], slot.ownership)
        assert slot.visible() == [b"A"]
    finally:
        sink.close()


def test_a_commit_goes_through_after_a_restart_of_the_broker(make_slot: Callable[..., Slot]) -> None:
    """K11, and the rebuilt producer."""
    slot = make_slot()
    slot.kafka.broker.restart()

    def commits() -> bool:
        slot.source.poll(0.02)
        ownership = slot.source.ownership()
        return ownership is not None and slot.sink.commit([slot.answer()], [slot.offset], ownership)

    wait_until(commits)
    assert slot.visible() == [b"A"]
    assert slot.committed() == 1
