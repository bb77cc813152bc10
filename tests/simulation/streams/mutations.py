"""Each rule of streaming taken out, one at a time, as a change of the code while a schedule runs."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from topology.contract.names import DraftSource
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.streaming import reader_rule, writer
from topology.streaming.reader_rule import Shown
from topology.streaming.tokens import Order, order
from topology.streaming.writer import StreamWriter
from workers.streaming.answers import AnswerSink
from workers.streaming.places import Place, Places
from workers.streaming.releases import KafkaReleases

Patch = pytest.MonkeyPatch


def no_opened(patch: Patch) -> None:
    """Runs write no `opened` and read nothing back, and readers ask for none."""
    take, open_run, send = Shown.take, StreamWriter.open, KafkaReleases._send

    def opens(self: StreamWriter, token: StreamToken) -> StreamRecord:
        opened = open_run(self, token)
        self._is_read_back = True
        return opened

    async def sends(self: KafkaReleases, record: StreamRecord) -> bool:
        if record.kind is StreamKind.OPENED:
            self._changed.set()
            return True
        return await send(self, record)

    def takes(self: Shown, record: StreamRecord) -> str:
        if self.token is None or order(record.token, self.token) is Order.HIGHER:
            self.token = record.token
        return take(self, record)

    patch.setattr(StreamWriter, "open", opens)
    patch.setattr(KafkaReleases, "_send", sends)
    patch.setattr(Shown, "take", takes)


def no_opening_again(patch: Patch) -> None:
    """A run goes on under the token with which it opened, whatever changed hands.

    Without the last look at its response, which would say `replaced` all the same.
    """
    of = Places.of
    first: dict[int, Place] = {}

    def always_the_first(self: Places, partition: Any) -> Place | None:
        place = of(self, partition)
        return place and first.setdefault(id(self), place)

    patch.setattr(Places, "of", always_the_first)
    no_last_look(patch)


def reading_back_stops_short(patch: Patch) -> None:
    """What was read by the time the `opened` is acknowledged counts as everything before it."""
    send = KafkaReleases._send

    async def sends(self: KafkaReleases, record: StreamRecord) -> bool:
        is_done = await send(self, record)
        if is_done and record.kind is StreamKind.OPENED and not self._was_open:
            self._was_open = True
            self._read(self._pending or [])
        if is_done and record.kind is StreamKind.OPENED:
            held = self._writer
            if not held.is_open and not held.is_overtaken:
                held._is_read_back = True
                held._sent, held._sequence = held._shown.text, held._shown.next_sequence
            self._changed.set()
        return is_done

    patch.setattr(KafkaReleases, "_send", sends)


def tokens_are_not_compared(patch: Patch) -> None:
    """Whatever token a record has, it counts."""

    def same(token: StreamToken, other: StreamToken) -> Order:
        return Order.SAME

    def higher_where_opened(token: StreamToken, other: StreamToken) -> Order:
        return Order.SAME if token == other else Order.HIGHER

    def read(self: StreamWriter, record: StreamRecord) -> None:
        self._shown.take(record)
        if record.token == self._token and record.kind is StreamKind.OPENED and not self._is_read_back:
            self._is_read_back = True
            self._sent, self._sequence = self._shown.text, self._shown.next_sequence

    patch.setattr(reader_rule, "order", same)
    patch.setattr(writer, "order", higher_where_opened)
    patch.setattr(StreamWriter, "read", read)


def the_next_before_the_acknowledgement(patch: Patch) -> None:
    """A segment counts as written as soon as it is sent."""
    send = KafkaReleases._send

    async def sends(self: KafkaReleases, record: StreamRecord) -> bool:
        if record.kind is StreamKind.SEGMENT:
            task = self._loop.create_task(send(self, record))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            return True
        return await send(self, record)

    patch.setattr(KafkaReleases, "_send", sends)


def a_response_without_what_was_not_acknowledged(patch: Patch) -> None:
    """The response has the segments that were acknowledged alone."""
    segment, acknowledged = StreamWriter.segment, StreamWriter.acknowledged

    def segments(self: StreamWriter, text: str, source: DraftSource, *, is_last: bool) -> StreamRecord:
        before = self._sent
        made = segment(self, text, source, is_last=is_last)
        self._sent = before
        return made

    def acknowledges(self: StreamWriter, record: StreamRecord) -> None:
        self._sent += record.text
        acknowledged(self, record)

    patch.setattr(StreamWriter, "segment", segments)
    patch.setattr(StreamWriter, "acknowledged", acknowledges)


def no_last_look(patch: Patch) -> None:
    """A response that waited while its partition was given away and taken back is committed as it was made."""

    def commits(
        self: AnswerSink, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership
    ) -> bool:
        return self._sink.commit(records, offsets, ownership)

    patch.setattr(AnswerSink, "commit", commits)


def a_gap_is_passed_over(patch: Patch) -> None:
    """A reader shows what follows a gap."""
    take = Shown.take

    def takes(self: Shown, record: StreamRecord) -> str:
        if record.kind is StreamKind.SEGMENT and record.sequence > self.next_sequence:
            self.next_sequence = record.sequence
        return take(self, record)

    patch.setattr(Shown, "take", takes)
    the_next_before_the_acknowledgement(patch)


MUTATIONS: tuple[Callable[[Patch], None], ...] = (
    no_opened,
    no_opening_again,
    reading_back_stops_short,
    tokens_are_not_compared,
    the_next_before_the_acknowledgement,
    a_response_without_what_was_not_acknowledged,
    no_last_look,
    a_gap_is_passed_over,
)
