"""Readers on the real broker: nothing that a poll brought is lost, and a range ends where it was said to end."""

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from tests.plugins.raw_batches import NAMELESS_HEADER, batch, produce, record
from workers.kafka.errors import KafkaRefused
from workers.kafka.reader import RangeReader, Span, TopicReader, ValueDecoder, read_topic

pytestmark = pytest.mark.kafka

LARGE = bytes(200_000)
"""A fetch brings at most two of these from one partition."""


def test_what_is_written_while_a_topic_is_read_to_its_end_is_not_lost(kafka: Kafka) -> None:
    """A poll may bring it together with what was there before, and no later poll brings it again."""
    topic = kafka.topic(2)
    kafka.send(topic, b"first", partition=0)
    kafka.send(topic, *[LARGE] * 24, partition=1)
    with TopicReader(kafka.settings(), [topic], from_beginning=True) as reader:
        records = reader.read_to_end(PATIENCE_S)
        found = [next(records)]
        kafka.send(topic, b"late", partition=0)
        found += records
        while len(found) < 26:
            found += reader.poll(PATIENCE_S)
    assert sorted(record.value or b"" for record in found if record.partition == 0) == [b"first", b"late"]


def test_a_range_leaves_out_what_is_around_it(kafka: Kafka) -> None:
    topic = kafka.topic(2)
    kafka.send(topic, *(b"%d" % number for number in range(9)), partition=1)
    with RangeReader(kafka.settings(), topic) as reader:
        for start, end in ((2, 5), (0, 9), (4, 4)):
            records = [record for found in reader.read({1: Span(start=start, end=end)}) for record in found]
            assert [record.value for record in records] == [b"%d" % number for number in range(start, end)]
        assert reader.bounds() == {0: Span(start=0, end=0), 1: Span(start=0, end=9)}


def test_a_topic_that_does_not_exist_is_refused_or_has_no_partitions(kafka: Kafka) -> None:
    with pytest.raises(KafkaRefused, match="sluicegate topics create"):
        TopicReader(kafka.settings(), ["no-such-topic"], from_beginning=True)
    with RangeReader(kafka.settings(), "no-such-topic") as reader:
        assert reader.partitions == ()


def test_what_cannot_be_read_stops_no_reader(kafka: Kafka) -> None:
    topic = kafka.topic()
    produce(kafka.bootstrap, topic, batch(record(b"{}", headers=[NAMELESS_HEADER]), 1))
    kafka.send(topic, b"good")
    found = read_topic(kafka.settings(), topic, PATIENCE_S)
    with RangeReader(kafka.settings(), topic) as reader:
        ranged = [each for records in reader.read(reader.bounds()) for each in records]
    assert found == ranged
    assert [(each.offset, bool(each.unreadable)) for each in found] == [(0, True), (1, False)]
    assert ValueDecoder(dict[str, str])(found[0]) is None
