"""The reader's rule: what a reader of `conversations.stream` shows of one answer. Sans-IO; owners and readers share it.

A reader gives every record of one audit id, in the partition's order, to `Shown.take` and shows the text it returns.
All readers that began before the event was written have the same text after the same record, and so has the owner that
reads back: what is shown is a function of the partition's records alone.

- A segment counts only under the highest token whose `opened` was read.
- A sequence that was had already is ignored; after a gap nothing more is shown until the response.
- After the `opened` of a token that cannot be compared, nothing more is shown until the response.
- The response decides: where it does not begin with what was shown, it replaces it, flagged or not.
- Without a response `GRACE_MS` after the deadline, stop, and ask again with the same event id.
"""

from typing import Final

from msgspec import Struct

from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.streaming.tokens import Order, order

GRACE_MS: Final = 30_000
"""The time after an event's deadline for which its response is awaited."""

BEGIN_BEFORE_MS: Final = 60_000
"""A reader begins at least so long before the event was written, by the brokers' time, or shows the response alone."""


class Ending(Struct, frozen=True):
    """How a response ends a stream: `text` is added to what was shown, or takes its place if `is_replacing`."""

    text: str
    is_replacing: bool


class Shown:
    """What is shown of one answer. `is_from_start` says whether the reading began before the event was written.

    If it is false nothing is shown before the response: an `opened` that was not read could make a lower token's
    segments look like the answer.
    """

    def __init__(self, *, is_from_start: bool = True) -> None:
        self.text = ""
        """What is shown now."""
        self.token: StreamToken | None = None
        """The highest token that was opened."""
        self.next_sequence = 1
        self.has_last = False
        """Whether what is shown holds the whole of the model's answer."""
        self.is_waiting = not is_from_start
        """Whether nothing more is shown until the response."""

    def take(self, record: StreamRecord) -> str:
        """Return the text to show after a record of this audit id; empty if it changes nothing."""
        if self.is_waiting:
            return ""
        stands = Order.HIGHER if self.token is None else order(record.token, self.token)
        if record.kind is StreamKind.OPENED:
            self._open(record.token, stands)
            return ""
        if self.token is None or stands is not Order.SAME or record.sequence < self.next_sequence:
            return ""
        if record.sequence > self.next_sequence:
            self.is_waiting = True
            return ""
        self.next_sequence += 1
        self.text += record.text
        self.has_last = self.has_last or record.last
        return record.text

    def end(self, response: str) -> Ending:
        """Return what the response's text changes. Nothing of the stream counts after it."""
        self.is_waiting = True
        is_replacing = not response.startswith(self.text)
        added = response if is_replacing else response[len(self.text) :]
        self.text = response
        return Ending(added, is_replacing)

    def _open(self, token: StreamToken, stands: Order) -> None:
        if stands is Order.UNKNOWN:
            self.is_waiting = True
        elif stands is Order.HIGHER:
            self.token = token


def is_overdue(deadline_ms: int, now_ms: int) -> bool:
    """Return whether a reader stops waiting for the response, and asks again with the same event id."""
    return now_ms > deadline_ms + GRACE_MS
