"""A probe: it checks one thing within a bound, and says line by line what works and how to fix what does not."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from workers.settings import Settings

SHARE_OF_TIMEOUT = 0.9
"""A probe's own bound as a share of its time, so that it can still say in words what took too long."""


class Mark(StrEnum):
    """The first word of a line. Only `wrong` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    UNUSED = "unused"


class Line(Struct, frozen=True, kw_only=True):
    """One thing that was checked. `mend` says what to do, with the key of the setting; empty if nothing."""

    mark: Mark
    what: str
    found: str
    mend: str = ""


Probe = Callable[[Settings, float], Iterator[Line]]
"""A function of the settings and a bound in seconds. It shows no secret and no text of the other side's choice."""


def ok(what: str, found: str) -> Line:
    """Return a line about something that works."""
    return Line(mark=Mark.OK, what=what, found=found)


def note(what: str, found: str, mend: str = "") -> Line:
    """Return a line about something that works but may not be intended."""
    return Line(mark=Mark.NOTE, what=what, found=found, mend=mend)


def wrong(what: str, found: str, mend: str) -> Line:
    """Return a line about something that does not work."""
    return Line(mark=Mark.WRONG, what=what, found=found, mend=mend)


def unused(what: str, found: str) -> Line:
    """Return a line about something that the settings leave out."""
    return Line(mark=Mark.UNUSED, what=what, found=found)


class RunningProbe:
    """A probe in its own thread, so that none waits for another and none can outlast its bound.

    A thread that hangs is left behind, because the libraries have calls that no timeout ends.
    """

    def __init__(self, what: str, probe: Probe, settings: Settings, timeout_s: float) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        self._lines: list[Line] = []
        self._thread = threading.Thread(target=self._run, args=(probe, settings), name=f"probe {what}", daemon=True)
        self._thread.start()

    def lines(self) -> Sequence[Line]:
        """Return the lines of the probe; waits for it until its bound at most."""
        self._thread.join(max(0.0, self._deadline_s - time.monotonic()))
        lines = tuple(self._lines)
        if not self._thread.is_alive():
            return lines
        return (*lines, wrong(self._what, f"not done within {self._timeout_s:g} s", "allow more time with --timeout"))

    def _run(self, probe: Probe, settings: Settings) -> None:
        try:
            for line in probe(settings, self._timeout_s * SHARE_OF_TIMEOUT):
                self._lines.append(line)
        except Exception as exc:  # noqa: BLE001 - a probe that breaks must not hide what the others found
            # Type and place only, because a library's message may quote a header, and so a secret.
            self._lines.append(wrong(self._what, f"the probe broke: {type(exc).__name__} {_place(exc)}", "report this"))


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"at {Path(frame.filename).name}:{frame.lineno}"
