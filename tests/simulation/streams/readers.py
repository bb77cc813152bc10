"""The readers of one schedule: what they show, and what must never be shown."""

from typing import TYPE_CHECKING

import msgspec

from topology.contract.events import AuditedResponse, TextPart
from topology.contract.streams import StreamKind, StreamRecord
from topology.streaming import reader_rule

if TYPE_CHECKING:
    from tests.simulation.streams.world import World

_record_of = msgspec.json.Decoder(StreamRecord).decode


class Violation(AssertionError):
    """A rule that did not hold."""


class Reader:
    """A reader of the stream and of the response, each with a delay of its own."""

    def __init__(self, world: "World", offset: int, *, is_from_start: bool) -> None:
        self._world = world
        self._next = offset
        self._is_from_start = is_from_start
        self._shown = reader_rule.Shown(is_from_start=is_from_start)
        self._is_ended = False
        self._is_waiting = False
        self.text_before_end = ""

    def wake(self) -> None:
        if not self._is_waiting and self._next < len(self._world.log):
            self._is_waiting = True
            self._world.after(self._world.wait_s(4.0), self._read)

    def await_end(self, response: AuditedResponse) -> None:
        self._world.after(self._world.wait_s(6.0), self._end, response)

    def _read(self) -> None:
        self._is_waiting = False
        if self._next < len(self._world.log):
            at, self._next = self._next, self._next + 1
            self._take(at)
        self.wake()

    def _take(self, at: int) -> None:
        record = _record_of(self._world.log[at].value or b"")
        before = self._shown.text
        was_waiting = self._shown.is_waiting
        text = self._shown.take(record)
        if self._is_from_start and self._shown.is_waiting and not was_waiting and record.kind is StreamKind.SEGMENT:
            raise Violation(f"a gap before {record.sequence}: nothing more is shown, although nobody was overtaken")
        if text and not self._is_ended:
            self._check_tokens(at, record)
            if self._world.judged[text] != before:
                raise Violation(f"{text!r} shown after {before!r}, and judged after {self._world.judged[text]!r}")
            self.text_before_end = self._shown.text

    def _check_tokens(self, at: int, record: StreamRecord) -> None:
        for earlier in self._world.log[:at]:
            other = _record_of(earlier.value or b"")
            if other.kind is StreamKind.OPENED and not _is_at_least(record, other):
                raise Violation(f"a segment of {record.token} shown after {other.token} opened")

    def _end(self, response: AuditedResponse) -> None:
        self._is_ended = True
        ending = self._shown.end(_text_of(response))
        if ending.is_replacing and not response.replaced:
            raise Violation(f"{self.text_before_end!r} shown, and the answer is {_text_of(response)!r}")


def _text_of(response: AuditedResponse) -> str:
    (part,) = response.parts
    assert isinstance(part, TextPart)
    return part.text


def _is_at_least(record: StreamRecord, other: StreamRecord) -> bool:
    """Return whether a token may be shown after another one opened. Not the code that is tried."""
    mine, theirs = record.token, other.token
    if mine.generation == theirs.generation and mine.producer_id != theirs.producer_id:
        return False
    return (mine.generation, mine.epoch, mine.run) >= (theirs.generation, theirs.epoch, theirs.run)
