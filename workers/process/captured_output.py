"""What libraries print becomes log lines: standard output belongs to JSON logs, or to the person at the terminal."""

import io
import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

logger = logging.getLogger("sluicegate.printed")

LINE_CHARACTERS_MAX = 500


OWN_LINE = '{"ts":'
"""How our own log lines begin (workers/telemetry/logs.py); Ray puts the actor's name in front of what actors print."""


class LogLines(io.TextIOBase):
    """A stream that logs every whole line written to it; an actor's own log line goes to `real` as it is."""

    def __init__(self, real: TextIO) -> None:
        self._real = real
        self._rest = ""
        self._logging = threading.local()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str, /) -> int:
        """Log the lines that `text` completes; the rest waits for its end."""
        if getattr(self._logging, "is_under_way", False):
            return len(text)  # a log handler that some library pointed at us says again what it was given
        *lines, self._rest = (self._rest + text).split("\n")
        self._logging.is_under_way = True
        try:
            self._pass_on(lines)
        finally:
            self._logging.is_under_way = False
        return len(text)

    def _pass_on(self, lines: list[str]) -> None:
        for line in lines:
            if (begin := line.find(OWN_LINE)) >= 0:
                self._real.write(line[begin:] + "\n")
                self._real.flush()
            elif line.strip():
                logger.info("printed", extra={"line": line.strip()[:LINE_CHARACTERS_MAX]})


@contextmanager
def prints_as_logs() -> Generator[TextIO]:
    """Inside the block what is printed is logged; the block gets the real standard output."""
    real = sys.stdout
    with redirect_stdout(LogLines(real)), redirect_stderr(LogLines(real)):
        yield real
