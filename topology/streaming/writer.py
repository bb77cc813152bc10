"""The writer of one answer's stream: opened, read back, one segment after the other. Sans-IO.

Whoever drives it writes the records that `open` and `segment` return, gives it every record of its audit id in the
partition's order (`read`), and says what became of each segment (`acknowledged`, `failed`).

A run begins with `open`. It may release once it has read its own `opened`: what is shown there is its prefix. The next
segment is made only after the last one was acknowledged. After a failed send, or any change of ownership, the run opens
again under a higher token, and reads back before its next segment or its response: text that is not its own becomes its
prefix. A writer that reads a higher token than its own has been overtaken, and releases nothing more unless it opens
under one that is higher still. One that reads a token that cannot be compared has been replaced for good.
"""

from typing import Final

from msgspec import Struct

from topology.contract.errors import Replaced
from topology.contract.names import DraftSource
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.streaming.reader_rule import Shown
from topology.streaming.tokens import Order, order

HIGHER: Final = "another run has a higher token"


class StreamIds(Struct, frozen=True, kw_only=True):
    """Whose answer is streamed."""

    audit_id: str
    event_id: str
    conversation_id: str
    tenant_id: str


class StreamWriter:
    """The runs of one event by one worker. Calls must not overlap; a wrong order of calls raises RuntimeError."""

    def __init__(self, ids: StreamIds) -> None:
        self._ids = ids
        self._shown = Shown()
        self._token: StreamToken | None = None
        self._is_read_back = False
        self._is_overtaken = False
        self._in_flight: StreamRecord | None = None
        self._sequence = 1
        self._sent = ""
        self._why = ""

    @property
    def token(self) -> StreamToken | None:
        """Return the token of the last run; None before the first one."""
        return self._token

    @property
    def is_open(self) -> bool:
        """Return whether the present run has read its own `opened`, and has not been replaced."""
        return self._is_read_back and not self._is_overtaken and not self._why

    @property
    def is_overtaken(self) -> bool:
        """Return whether a higher token than that of the present run was read."""
        return self._is_overtaken

    @property
    def replaced_why(self) -> str:
        """Return why nothing more may be released, for good; empty while it may."""
        return self._why

    @property
    def has_last(self) -> bool:
        """Return whether the whole of the model's answer was released: nothing more is generated then."""
        return self._shown.has_last

    @property
    def sent(self) -> str:
        """Return all text that readers may have seen: the prefix, and every segment sent, acknowledged or not."""
        return self._sent

    def open(self, token: StreamToken) -> StreamRecord:
        """Begin a run, and return its `opened`. Raises Replaced unless the token is the highest one that was read."""
        self.require_place()
        for known in (self._token, self._shown.token):
            if known is not None and order(token, known) is not Order.HIGHER:
                self.replace(HIGHER)
                raise Replaced(self._why)
        self._token, self._is_read_back, self._is_overtaken, self._in_flight = token, False, False, None
        return self._record(token, StreamKind.OPENED)

    def read(self, record: StreamRecord) -> None:
        """Take the next record of this audit id, whoever wrote it."""
        self._shown.take(record)
        if self._shown.is_waiting:
            self.replace("a gap, or a token that cannot be compared")
        if self._token is None:
            return
        found = {order(record.token, self._token), order(self._shown.token or record.token, self._token)}
        if Order.UNKNOWN in found:
            self.replace("a token that cannot be compared")
        elif Order.HIGHER in found:
            self._is_overtaken = True
        elif record.token == self._token and record.kind is StreamKind.OPENED and not self._is_read_back:
            self._is_read_back = True
            self._sent, self._sequence = self._shown.text, self._shown.next_sequence

    def segment(self, text: str, source: DraftSource, *, is_last: bool) -> StreamRecord:
        """Return the next segment, to be written now. Raises Replaced."""
        self.require_place()
        if self._is_overtaken:
            raise Replaced(HIGHER)
        if self._token is None or not self._is_read_back or self._in_flight is not None:
            raise RuntimeError("a segment before the run was read back, or before the last one was acknowledged")
        record = self._record(self._token, StreamKind.SEGMENT, self._sequence, text, source, is_last)
        self._in_flight = record
        self._sent += text
        return record

    def acknowledged(self, record: StreamRecord) -> None:
        """Take the acknowledgement of a segment; a late one of an earlier run changes nothing."""
        if record is self._in_flight:
            self._in_flight = None
            self._sequence += 1

    def failed(self) -> None:
        """Close the run: whether its last record arrives is unknown until a new one has been read back."""
        self._is_read_back, self._in_flight = False, None

    def replace(self, why: str) -> None:
        """Release nothing more, for good. The first reason stays."""
        self._why = self._why or why

    def require_place(self) -> None:
        """Raise Replaced if nothing more may be released."""
        if self._why:
            raise Replaced(self._why)

    def _record(
        self,
        token: StreamToken,
        kind: StreamKind,
        sequence: int = 0,
        text: str = "",
        source: DraftSource = DraftSource.NONE,
        is_last: bool = False,
    ) -> StreamRecord:
        ids = self._ids
        return StreamRecord(
            audit_id=ids.audit_id,
            event_id=ids.event_id,
            conversation_id=ids.conversation_id,
            tenant_id=ids.tenant_id,
            token=token,
            kind=kind,
            sequence=sequence,
            text=text,
            source=source,
            last=is_last,
        )
