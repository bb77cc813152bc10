"""Output of libraries, turned into log lines: standard output is for JSON logs, or for the person at the terminal."""

import io
import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

logger = logging.getLogger("sluicegate.printed")

LINE_CHARACTERS_MAX = 500

NOISE = ("Token authentication is ",)
"""Parts of lines that libraries print at every start and that ask for nothing; they are logged at DEBUG."""

OWN_LINE = '{"ts":'
"""The beginning of this project's log lines (workers/telemetry/logs.py). Ray writes the name of an actor before it."""


class LogLines(io.TextIOBase):
    """A stream that logs every complete line written to it, but writes the log lines of actors to `real` unchanged."""

    def __init__(self, real: TextIO) -> None:
        self._real = real
        self._rest = ""
        self._logging = threading.local()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Log the lines that `text` completes; keep the rest until its line is complete."""
        if getattr(self._logging, "is_under_way", False):
            return len(text)  # a library's log handler writes here: it repeats what is being logged
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
                level = logging.DEBUG if any(part in line for part in NOISE) else logging.INFO
                logger.log(level, "printed", extra={"line": line.strip()[:LINE_CHARACTERS_MAX]})


@contextmanager
def prints_as_logs() -> Generator[TextIO]:
    """Log what is printed inside the block; the block gets the real standard output."""
    real = sys.stdout
    with redirect_stdout(LogLines(real)), redirect_stderr(LogLines(real)):
        yield real
