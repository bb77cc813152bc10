"""The parser of server-sent events, without I/O: bytes in as they come, the `data` of each finished event out.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream". Event names, ids and retry times are skipped:
OpenAI-compatible endpoints use none of them.
"""


class SseParser:
    """A parser that takes received bytes, cut anywhere; bounded only by what its caller feeds it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._ended_with_cr = False
        self._is_at_start = True

    def feed(self, received: bytes) -> list[bytes]:
        """Return the data of each event that `received` completes, in order; data lines are joined by newlines."""
        if self._ended_with_cr and received:
            self._ended_with_cr = False
            if received.startswith(b"\n"):
                received = received[1:]
        lines = self._split(received)
        events: list[bytes] = []
        for line in lines:
            self._take_line(line.rstrip(b"\r\n"), events)
        return events

    def end(self) -> list[bytes]:
        """Return the data of an event that the stream ended in, which the standard would discard.

        Some servers close without a last blank line; whether the answer is whole, its finish reason says.
        """
        events: list[bytes] = []
        self._take_line(b"".join(self._pieces), events)
        self._take_line(b"", events)
        self._pieces.clear()
        return events

    def _split(self, received: bytes) -> list[bytes]:
        """Return the finished lines, each with its line end; keep the unfinished last one."""
        lines = received.splitlines(keepends=True)
        if not lines:
            return lines
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        if lines:
            self._ended_with_cr = lines[-1].endswith(b"\r")
            if self._pieces:
                lines[0] = b"".join((*self._pieces, lines[0]))
                self._pieces.clear()
        if rest:
            self._ended_with_cr = False
            self._pieces.append(rest)
        return lines

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if self._is_at_start:
            self._is_at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            self._data.append(b"")
