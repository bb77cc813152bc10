"""Answers that are read again: those that are wanted at once are read together, and an error concerns nobody else."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.plugins.open_door import answered
from tests.plugins.patience import wait_until
from topology.contract.codec import encode
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.names import Header
from topology.contract.records import Record
from workers.door.asking import LogAway
from workers.door.reading import STRETCH_RECORDS, KeptAnswers, stretches
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.reader import Span

ASK = (Message(role=Role.USER, parts=(TextPart(text="?"),)),)


class Topic:
    """An audited topic in memory of partitions with `count` answers each; the first read waits for `opened`."""

    def __init__(self, count: int = 10) -> None:
        self.count = count
        self.reads: list[dict[int, Span]] = []
        self.opened = threading.Event()
        self.is_away = False

    def read(self, spans: Mapping[int, Span], stall_s: float) -> Iterator[list[Record]]:
        del stall_s
        self.reads.append(dict(spans))
        assert self.opened.wait(60)
        if self.is_away:
            raise KafkaUnavailable("read", "away")
        for partition, span in spans.items():
            yield [record(partition, offset) for offset in range(span.start, min(span.end, self.count))]

    def close(self) -> None:
        self.opened.set()


def record(partition: int, offset: int) -> Record:
    event = ConversationEvent(event_id=f"{partition}-{offset}", conversation_id="c", tenant_id="t", messages=ASK)
    headers = ((Header.REQUEST_DIGEST.value, b"d"),)
    value = encode(answered(event, f"audit {partition}-{offset}"))
    return Record(
        topic="audited", partition=partition, offset=offset, timestamp_ms=1, key=None, value=value, headers=headers
    )


def test_what_is_wanted_while_one_is_read_is_read_together() -> None:
    topic = Topic()
    kept = KeptAnswers(lambda: topic)
    wanted = [(0, 0), (0, 3), (0, 3), (1, 2), (0, 5)]
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(kept.fetch, 0, 9)
        wait_until(lambda: len(topic.reads) == 1)
        others = [threads.submit(kept.fetch, *place) for place in wanted]
        wait_until(lambda: len(kept._wanted) == 4)
        topic.opened.set()
        found = [each.result(60) for each in [first, *others]]
    assert [each and each.answered.event_id for each in found] == ["0-9", "0-0", "0-3", "0-3", "1-2", "0-5"]
    assert topic.reads[1:] == [{0: Span(start=0, end=6), 1: Span(start=2, end=3)}]
    kept.close()


def test_an_answer_that_is_gone_is_none() -> None:
    topic = Topic(count=3)
    topic.opened.set()
    assert KeptAnswers(lambda: topic).fetch(0, 7) is None


def test_while_the_brokers_are_away_nothing_is_found_and_afterwards_it_is() -> None:
    topic = Topic()
    topic.opened.set()
    kept = KeptAnswers(lambda: topic)
    topic.is_away = True
    with pytest.raises(LogAway):
        kept.fetch(0, 1)
    topic.is_away = False
    assert kept.fetch(0, 1) is not None


def test_answers_far_apart_are_stretches_of_their_own() -> None:
    far = STRETCH_RECORDS * 5
    assert stretches([(0, far), (0, 1), (1, 4)]) == [
        {0: Span(start=1, end=2), 1: Span(start=4, end=5)},
        {0: Span(start=far, end=far + 1)},
    ]
    assert stretches([]) == []
